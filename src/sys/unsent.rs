//! Output of a socket that its peer has not received.
#![allow(unsafe_code)] // No library of the project has a safe form of this request.

use std::os::fd::AsRawFd;

/// Returns true if the peer has not acknowledged all output of a TCP socket, or has not read all
/// output of a Unix socket (SIOCOUTQ, tcp(7) and unix(7)). Does not block.
pub fn has_unsent(socket: &impl AsRawFd) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int to the address that it is given, which lives that long.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    result == 0 && bytes > 0
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_the_peer_has_not_read_is_unsent() {
        let (mut here, mut there) = UnixStream::pair().expect("two sockets");
        assert!(!has_unsent(&here));
        here.write_all(b"text").expect("it is sent");
        assert!(has_unsent(&here) && !has_unsent(&there));
        there.read_exact(&mut [0; 4]).expect("it is read");
        assert!(!has_unsent(&here));
    }
}
