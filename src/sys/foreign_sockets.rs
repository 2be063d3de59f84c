//! TCP sockets of another process, seen and set from outside of it.
//!
//! pidfd_getfd(2) copies a descriptor of another process, so that a program in any language gets
//! the options of [`super::socket`] without its help. The kernel allows it for a process of the
//! same user that may be traced, such as a child. Sockets of the children of that process are not
//! looked at.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::fd::{OwnedFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::SockRef;

use super::socket::{self, SocketOptions};

/// Time for a server to accept a connection and to set its options.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Sets the options on every listener of process `pid`. Sockets accepted later inherit them.
pub fn tune_listeners(pid: u32) -> io::Result<()> {
    for socket in sockets(pid)? {
        if SockRef::from(&socket).is_listener()? {
            socket::tune(&socket).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// Reads the options of a socket that process `pid` accepted at `address`. Connects to the process
/// if it has none. Returns `None` if it does not accept.
pub fn read_accepted(pid: u32, address: SocketAddr) -> io::Result<Option<SocketOptions>> {
    let found = accepted(pid, address)?;
    if found.is_some() {
        return Ok(found);
    }
    let _connection = TcpStream::connect_timeout(&address, ACCEPT_TIMEOUT)?;
    let end = Instant::now() + ACCEPT_TIMEOUT;
    while Instant::now() < end {
        thread::sleep(LOOK_INTERVAL);
        if accepted(pid, address)?.is_some() {
            // A program may set options after it has accepted.
            thread::sleep(LOOK_INTERVAL);
            return accepted(pid, address);
        }
    }
    Ok(None)
}

fn accepted(pid: u32, address: SocketAddr) -> io::Result<Option<SocketOptions>> {
    for socket in sockets(pid)? {
        let view = SockRef::from(&socket);
        let local = view.local_addr()?.as_socket();
        let is_accepted =
            local.is_some_and(|local| local.port() == address.port()) && view.peer_addr().is_ok();
        if is_accepted {
            return socket::read_back(&socket).map(Some).map_err(io::Error::other);
        }
    }
    Ok(None)
}

/// Copies the descriptors of the sockets of process `pid`.
fn sockets(pid: u32) -> io::Result<Vec<OwnedFd>> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    let mut sockets = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        let Some(number) = number.filter(|_| target.to_string_lossy().starts_with("socket:"))
        else {
            continue;
        };
        match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
            Ok(socket) => sockets.push(socket),
            // The process has closed it meanwhile.
            Err(Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// This process stands for the other one; it may copy its own descriptors.
    #[test]
    fn accepted_sockets_have_the_options_set_on_the_listener_from_outside() {
        let pid = std::process::id();
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("port 0");
        let address = listener.local_addr().expect("bound");
        let before = read_back_one(&listener, address, pid);
        assert_eq!(before.nodelay, Some(false));
        tune_listeners(pid).expect("it is this process");
        assert_eq!(read_back_one(&listener, address, pid).nodelay, Some(true));
    }

    fn read_back_one(listener: &TcpListener, address: SocketAddr, pid: u32) -> SocketOptions {
        thread::scope(|scope| {
            let accepting = scope.spawn(|| {
                let accepted = listener.accept().expect("connected").0;
                // The other end closes the connection once the options have been read.
                accepted.peek(&mut [0]).expect("a closed connection");
            });
            let options = read_accepted(pid, address).expect("it is this process");
            accepting.join().expect("no panic");
            options.expect("accepted")
        })
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        let error = tune_listeners(u32::MAX).expect_err("no such process");
        assert_eq!(error.raw_os_error(), Some(Errno::SRCH.raw_os_error()));
    }
}
