//! Socket of type REQ over blocking calls, written from the RFCs of ZeroMQ and not from our client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) struct Req(TcpStream);

impl Req {
    pub(crate) fn connect(address: SocketAddr) -> Req {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let mut greeting = [0; 64];
        greeting[0] = 0xFF;
        greeting[9] = 0x7F;
        greeting[10] = 3;
        greeting[12..16].copy_from_slice(b"NULL");
        stream.write_all(&greeting).expect("it reads");
        stream.write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03REQ").expect("it reads");
        stream.read_exact(&mut greeting).expect("a greeting");
        let mut req = Req(stream);
        let (flags, _) = req.frame();
        assert_eq!(flags, 4, "READY is a command");
        req
    }

    /// Sends a request of `parts` and returns the parts of the reply.
    pub(crate) fn call(&mut self, parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut request = vec![1, 0];
        for (place, part) in parts.iter().enumerate() {
            request.push(2 | u8::from(place + 1 < parts.len()));
            request.extend_from_slice(&(part.len() as u64).to_be_bytes());
            request.extend_from_slice(part);
        }
        self.0.write_all(&request).expect("it reads");
        assert_eq!(self.frame(), (1, Vec::new()), "a delimiter");
        let mut reply = Vec::new();
        loop {
            let (flags, part) = self.frame();
            reply.push(part);
            if flags & 1 == 0 {
                return reply;
            }
        }
    }

    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).expect("a frame");
        let len = if head[0] & 2 == 0 {
            usize::from(head[1])
        } else {
            let mut rest = [0; 8];
            rest[0] = head[1];
            self.0.read_exact(&mut rest[1..]).expect("a length");
            u64::from_be_bytes(rest) as usize
        };
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).expect("a payload");
        (head[0], payload)
    }
}
