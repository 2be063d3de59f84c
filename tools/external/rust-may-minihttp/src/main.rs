//! Server over may_minihttp: HTTP/1.1 in stackful coroutines, one for each connection.
//!
//! The features and the sizes of coroutines are those of the library's example for TechEmpower:
//! no cancellation and no timeouts of input and output, stacks of 4096 words, and a pool of 1000.
//! There is one worker, because the process has one core.

use std::io::{self, BufRead};

use contract::npy;
use contract::program::{Program, fail};
use contract::rest::{BODY_BYTES_MAX, Route};
use may_minihttp::{HttpServer, HttpService, Request, Response};

/// Service of one connection.
#[derive(Clone, Default)]
struct Echo {
    /// Body of the last request, kept for its capacity.
    body: Vec<u8>,
    head: Vec<u8>,
}

impl HttpService for Echo {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        let route = Route::find(request.method(), request.path());
        let length = request.headers().iter().find(|header| is_length(header.name));
        let length = length.map(|header| str::from_utf8(header.value).unwrap_or_default());
        let Some(length) = length.map_or(Some(0), |text| text.parse().ok()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        };
        if length > BODY_BYTES_MAX {
            refuse(response, (413, "Content Too Large"), "the body is longer than 192 MiB");
            return Ok(());
        }
        self.read(request, length)?;
        match route {
            Route::Npy => self.echo_npy(response),
            Route::Reflect => {
                response.header("Content-Type: application/octet-stream");
                response.body_mut().extend_from_slice(&self.body);
            }
            Route::Unknown => refuse(response, (404, "Not Found"), "no such path"),
            Route::WrongMethod => {
                response.header("Allow: POST");
                refuse(response, (405, "Method Not Allowed"), "expected POST");
            }
        }
        Ok(())
    }
}

impl Echo {
    fn read(&mut self, request: Request, length: usize) -> io::Result<()> {
        self.body.clear();
        self.body.reserve(length);
        let mut reader = request.body();
        while self.body.len() < length {
            let piece = reader.fill_buf()?;
            let bytes = piece.len();
            if bytes == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            self.body.extend_from_slice(piece);
            reader.consume(bytes);
        }
        Ok(())
    }

    fn echo_npy(&mut self, response: &mut Response) {
        match npy::read(&self.body) {
            Ok(array) => {
                self.head.clear();
                npy::write_header(&array, &mut self.head);
                response.header("Content-Type: application/x-npy");
                let body = response.body_mut();
                body.reserve(self.head.len() + array.data.len());
                body.extend_from_slice(&self.head);
                body.extend_from_slice(&array.data);
            }
            Err(reason) => refuse(response, (400, "Bad Request"), &reason),
        }
    }
}

fn is_length(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-length")
}

fn refuse(response: &mut Response, (code, message): (usize, &'static str), reason: &str) {
    response.status_code(code, message).header("Content-Type: text/plain; charset=utf-8");
    response.body_mut().extend_from_slice(format!("{reason}\n").as_bytes());
}

fn main() {
    let program = Program::start();
    // The process is pinned already, and without --cpu it must not choose a core.
    may::config().set_worker_pin(false);
    may::config().set_workers(1).set_pool_capacity(1000).set_stack_size(0x1000);
    let address = ("127.0.0.1", program.port);
    let _server = HttpServer(Echo::default())
        .start(address)
        .unwrap_or_else(|error| fail(&format!("cannot listen on port {}: {error}", address.1)));
    program.run()
}
