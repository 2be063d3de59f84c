//! TCP sockets with the options that every server, driver and client here gets alike.
//!
//! | option | value | why |
//! |---|---|---|
//! | `TCP_NODELAY` | on | every driver coalesces by itself; Nagle would add a delayed ACK to a request |
//! | `TCP_CONGESTION` | `cubic` where the kernel has it | `bbr` paces with timers, which caps loopback |
//! | buffer sizes | left to autotuning | a fixed size turns autotuning off and caps the window |
//!
//! Accepted sockets inherit all three from their listener. [`read_back`] says what really holds, for the record:
//! where `cubic` may not be set, the name that is left stands there.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

pub use crate::record::SocketOptions;

/// Connections that may wait to be accepted; the kernel clamps it to `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// The congestion control asked for.
pub const CONGESTION: &str = "cubic";

/// Why a socket could not be made.
#[derive(Debug)]
pub struct SocketError {
    doing: &'static str,
    address: Option<SocketAddr>,
    source: io::Error,
}

/// A listener on `address`, in blocking mode. With `reuse_port` several workers may listen on the same port and the
/// kernel spreads connections over them.
pub fn listen(address: SocketAddr, reuse_port: bool) -> Result<TcpListener, SocketError> {
    listen_inner(address, reuse_port).map_err(|source| SocketError {
        doing: "listen on",
        address: Some(address),
        source,
    })
}

fn listen_inner(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    apply(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A connection to `address`, in blocking mode.
pub fn connect(address: SocketAddr) -> Result<TcpStream, SocketError> {
    connect_inner(address).map_err(|source| SocketError {
        doing: "connect to",
        address: Some(address),
        source,
    })
}

fn connect_inner(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    apply(&SockRef::from(&socket))?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// Sets the options on a socket that somebody else made.
pub fn tune(socket: &impl AsFd) -> Result<(), SocketError> {
    apply(&SockRef::from(socket)).map_err(|source| SocketError {
        doing: "set options of a socket",
        address: None,
        source,
    })
}

fn apply(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // Missing module or no permission: what is left is read back and recorded.
    let _ = socket.set_tcp_congestion(CONGESTION.as_bytes());
    Ok(())
}

/// What the kernel says of a connected socket.
pub fn read_back(socket: &impl AsFd) -> Result<SocketOptions, SocketError> {
    read_back_inner(&SockRef::from(socket)).map_err(|source| SocketError {
        doing: "read options of a socket",
        address: None,
        source,
    })
}

fn read_back_inner(socket: &SockRef<'_>) -> io::Result<SocketOptions> {
    let name = socket.tcp_congestion()?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(SocketOptions {
        nodelay: socket.tcp_nodelay()?,
        send_buffer_bytes: socket.send_buffer_size()? as u64,
        receive_buffer_bytes: socket.recv_buffer_size()? as u64,
        congestion: String::from_utf8_lossy(&name[..end]).into_owned(),
    })
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.doing)?;
        if let Some(address) = self.address {
            write!(f, " {address}")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl std::error::Error for SocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn available(name: &str) -> bool {
        let list = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
        list.unwrap_or_default().split_whitespace().any(|entry| entry == name)
    }

    #[test]
    fn both_ends_of_a_connection_have_the_options() {
        let listener = listen(any_port(), false).expect("port 0");
        let client = connect(listener.local_addr().expect("bound")).expect("listening");
        let (server, _) = listener.accept().expect("connected");
        for end in [&client, &server] {
            let options = read_back(end).expect("connected");
            assert!(options.nodelay);
            assert!(options.send_buffer_bytes > 0 && options.receive_buffer_bytes > 0);
            assert_eq!(options.congestion == CONGESTION, available(CONGESTION));
        }
    }

    #[test]
    fn tune_sets_what_a_plain_socket_lacks() {
        let listener = TcpListener::bind(any_port()).expect("port 0");
        let plain = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        assert!(!read_back(&plain).expect("connected").nodelay);
        tune(&plain).expect("connected");
        assert!(read_back(&plain).expect("connected").nodelay);
    }

    #[test]
    fn two_workers_may_share_a_port_only_when_asked_to() {
        let first = listen(any_port(), true).expect("port 0");
        let address = first.local_addr().expect("bound");
        listen(address, true).expect("both share");
        let error = listen(address, false).expect_err("taken");
        assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
    }
}
