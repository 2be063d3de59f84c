//! Plain HTTP/1.1 client: sends bytes and reads one reply, with Content-Length or chunked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Fields as `name: value`, with names in lower case.
    pub(crate) fields: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter_map(|field| field.split_once(": "));
        values.find(|(got, _)| *got == name).map(|(_, value)| value)
    }
}

pub(crate) struct Rest(pub(crate) TcpStream);

impl Rest {
    pub(crate) fn connect(address: SocketAddr) -> Rest {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a positive timeout");
        stream.set_nodelay(true).expect("a TCP socket");
        Rest(stream)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server reads");
    }

    #[allow(dead_code, reason = "not every test sends a plain body")]
    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Reply {
        self.post_with(path, "", body)
    }

    /// Sends a request with more `fields`, each with its end of line.
    pub(crate) fn post_with(&mut self, path: &str, fields: &str, body: &[u8]) -> Reply {
        let len = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {len}\r\n");
        self.send(format!("{head}{fields}\r\n").as_bytes());
        self.send(body);
        self.reply()
    }

    /// Reads the next reply.
    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply().expect("a whole reply")
    }

    pub(crate) fn try_reply(&mut self) -> std::io::Result<Reply> {
        let mut reply = self.try_reply_head()?;
        let len = reply.field("content-length").map_or(0, |len| len.parse().expect("a length"));
        reply.body = vec![0; len];
        self.0.read_exact(&mut reply.body)?;
        Ok(reply)
    }

    /// Reads a reply without its body.
    pub(crate) fn try_reply_head(&mut self) -> std::io::Result<Reply> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head is ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let status = status.parse().expect("a number");
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields =
            fields.map(|(name, value)| format!("{}: {}", name.to_lowercase(), value.trim()));
        Ok(Reply { status, fields: fields.collect(), body: Vec::new() })
    }
}
