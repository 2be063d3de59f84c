//! Paths of the REST servers, with the content types of their replies.

pub const NPY: &str = "application/x-npy";
pub const BYTES: &str = "application/octet-stream";
pub const TEXT: &str = "text/plain; charset=utf-8";

/// Largest body. An array of 64 MiB fits.
pub const BODY_BYTES_MAX: usize = 192 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Npy,
    Reflect,
    Unknown,
    WrongMethod,
}

impl Route {
    /// Finds the route of a request. A query is ignored.
    pub fn find(method: &str, target: &str) -> Route {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let route = match path {
            "/echo_npy" => Route::Npy,
            "/echo_reflect" => Route::Reflect,
            _ => return Route::Unknown,
        };
        if method == "POST" { route } else { Route::WrongMethod }
    }
}
