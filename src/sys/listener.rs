//! Listeners of the workers of one server, all on the same address.
//!
//! | transport | several workers | a used address |
//! |---|---|---|
//! | TCP | one socket each, by SO_REUSEPORT | refused |
//! | Unix | one socket, one descriptor each | a stale file is replaced, a live one refused |
//!
//! A fixed port is first bound without SO_REUSEPORT, so that no other server shares it unnoticed.
//!
//! Invariant: the file of a Unix socket exists while one of its listeners does. The last one
//! removes it, unless another server has replaced it (other device or inode).

use std::fs::{self, Metadata};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::address::Address;
use super::socket::{self, SocketError};

/// Connections that may wait to be accepted; the kernel clamps it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Socket that accepts connections, in blocking mode at first.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Shared ownership of a Unix socket's file; the last owner removes it.
#[derive(Clone, Debug)]
pub struct SocketFile(Arc<OwnedFile>);

#[derive(Debug)]
struct OwnedFile {
    path: PathBuf,
    device_inode: (u64, u64),
}

/// Accepts the connections that wait at a listener, and no later ones. The sockets are in blocking
/// mode, and the listener is not afterwards.
pub fn backlog(listener: &impl AsFd) -> impl Iterator<Item = OwnedFd> {
    let listener = SockRef::from(listener);
    let is_ready = listener.set_nonblocking(true).is_ok();
    let accept = move || Some(listener.accept().ok()?.0.into());
    std::iter::from_fn(accept).take(if is_ready { BACKLOG as usize } else { 0 })
}

impl Listener {
    pub fn bind(address: &Address) -> Result<Listener, SocketError> {
        bind(address, false).map_err(|source| SocketError::listen(address, source))
    }

    pub fn bind_all(address: &Address, workers: usize) -> Result<Vec<Listener>, SocketError> {
        if workers == 1 {
            return Ok(vec![Listener::bind(address)?]);
        }
        if address.tcp().is_some_and(|address| address.port() != 0) {
            Listener::bind(address)?;
        }
        let failed = |source| SocketError::listen(address, source);
        let mut listeners = vec![bind(address, true).map_err(failed)?];
        for _ in 1..workers {
            let next = listeners[0].share().map_err(failed)?;
            listeners.push(next);
        }
        Ok(listeners)
    }

    pub fn address(&self) -> io::Result<Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Listener::Unix(_, file) => Ok(Address::Unix(file.0.path.clone())),
        }
    }

    /// Sets the mode of the open file, which descriptors of one Unix socket share.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        SockRef::from(self).set_nonblocking(nonblocking)
    }

    fn share(&self) -> io::Result<Listener> {
        match self {
            Listener::Tcp(listener) => bind_tcp(listener.local_addr()?, true).map(Listener::Tcp),
            Listener::Unix(listener, file) => {
                Ok(Listener::Unix(listener.try_clone()?, file.clone()))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for OwnedFile {
    fn drop(&mut self) {
        let is_ours = |found: Metadata| device_inode(&found) == self.device_inode;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // A file that cannot be removed is replaced by the next server, as after a crash.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn bind(address: &Address, reuse_port: bool) -> io::Result<Listener> {
    match address {
        Address::Tcp(address) => bind_tcp(*address, reuse_port).map(Listener::Tcp),
        Address::Unix(path) => bind_unix(path),
    }
}

fn bind_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket::apply(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let address = socket::unix_address(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket::apply(&SockRef::from(&socket))?;
    let bound = socket.bind(&address).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            remove_stale(path, &address)?;
            socket.bind(&address)
        }
        _ => Err(error),
    });
    bound?;
    let device_inode = device_inode(&fs::symlink_metadata(path)?);
    let file = SocketFile(Arc::new(OwnedFile { path: path.to_owned(), device_inode }));
    socket.listen(BACKLOG)?;
    Ok(Listener::Unix(socket.into(), file))
}

fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // Connected, full backlog (EAGAIN), or another type of socket (EPROTOTYPE).
        Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn device_inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_workers_may_share_a_port_only_when_asked_to() {
        let both = Listener::bind_all(&Address::FREE_PORT, 2).expect("port 0");
        let address = both[0].address().expect("bound");
        assert_eq!(both[1].address().expect("bound"), address);
        for error in
            [Listener::bind(&address), Listener::bind_all(&address, 2).map(|mut all| all.remove(0))]
        {
            let text = error.expect_err("taken").to_string();
            assert!(text.starts_with(&format!("cannot listen on {address}: ")), "{text}");
        }
    }

    #[test]
    fn the_last_listener_removes_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("echo.sock");
        let mut both = Listener::bind_all(&Address::Unix(path.clone()), 2).expect("a free path");
        drop(both.pop());
        assert!(path.exists());
        drop(both);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_another_server_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("echo.sock");
        let listener = Listener::bind(&Address::Unix(path.clone())).expect("a free path");
        fs::rename(&path, folder.path().join("moved.sock")).expect("it is there");
        fs::write(&path, b"not ours").expect("the folder is writable");
        drop(listener);
        assert!(path.exists());
    }
}
