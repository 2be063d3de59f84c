//! Options of the sockets of every server and client, and connects.
//!
//! | option | transport | value | why |
//! |---|---|---|---|
//! | `TCP_NODELAY` | TCP | on | drivers coalesce; Nagle would add a delayed ACK to a request |
//! | `TCP_CONGESTION` | TCP | `cubic`, if available | `bbr` paces by timers: a cap on loopback |
//! | buffer sizes | TCP | left to autotuning | a fixed size caps the window |
//! | buffer sizes | Unix | left alone | the default of the system, as users have it |
//!
//! Accepted TCP sockets inherit the options of their listener.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::address::Address;

pub const CONGESTION: &str = "cubic";

/// Most bytes of a Unix socket's path: `sun_path` has 108 and ends with a zero (unix(7)).
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// Longest prefix of [`begins_with`].
const PREFIX_BYTES_MAX: usize = 32;

/// Longest wait for a place in the backlog of a Unix socket.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketOptions {
    /// TCP_NODELAY; absent on a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodelay: Option<bool>,
    pub send_buffer_bytes: u64,
    pub receive_buffer_bytes: u64,
    /// TCP_CONGESTION; absent on a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub congestion: Option<String>,
}

/// Input of a socket that nobody has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    Nothing,
    Bytes,
    /// End of the input, or an error.
    End,
}

/// Failed system call on a socket. The text gives advice where a user can act on it.
#[derive(Debug)]
pub struct SocketError {
    action: Action,
    source: io::Error,
}

#[derive(Debug)]
enum Action {
    Listen(Address),
    Connect(Address),
    SetOptions,
    ReadOptions,
}

/// Connects to `address` with the options of this module; the socket is in blocking mode.
pub fn connect(address: &Address, timeout: Duration) -> Result<OwnedFd, SocketError> {
    let connected = match address {
        Address::Tcp(address) => connect_within(&(*address).into(), timeout),
        Address::Unix(path) => {
            unix_address(path).and_then(|address| connect_within(&address, timeout))
        }
    };
    let action = || Action::Connect(address.clone());
    connected.map_err(|source| SocketError { action: action(), source })
}

/// Starts to connect to `address`, without a wait for the other end. The socket is in blocking
/// mode: a read or a write waits until it is connected, and reports the failure if it cannot be.
pub fn start_connect(address: &Address) -> Result<OwnedFd, SocketError> {
    let Address::Tcp(tcp) = address else { return connect(address, LOCAL_TIMEOUT) };
    start(&(*tcp).into())
        .map_err(|source| SocketError { action: Action::Connect(address.clone()), source })
}

fn start(address: &SockAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    apply(&SockRef::from(&socket))?;
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => socket.set_nonblocking(false)?,
    }
    Ok(socket.into())
}

fn connect_within(address: &SockAddr, timeout: Duration) -> io::Result<OwnedFd> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    apply(&SockRef::from(&socket))?;
    if address.is_unix() {
        // A connect waits only while the backlog is full, and for as long as a write may.
        socket.set_write_timeout(Some(timeout))?;
        socket.connect(address)?;
        socket.set_write_timeout(None)?;
    } else {
        socket.connect_timeout(address, timeout)?;
    }
    Ok(socket.into())
}

pub(super) fn unix_address(path: &Path) -> io::Result<SockAddr> {
    let len = path.as_os_str().as_bytes().len();
    if len > UNIX_PATH_BYTES_MAX {
        let text = format!(
            "the path has {len} bytes, the path of a Unix socket at most {UNIX_PATH_BYTES_MAX}"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
    }
    SockAddr::unix(path)
}

/// Returns what nobody has read yet. Does not block.
pub fn unread(socket: &impl AsFd) -> Unread {
    let mut byte = [MaybeUninit::uninit()];
    let peeked =
        SockRef::from(socket).recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
    match peeked {
        Ok(1..) => Unread::Bytes,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Unread::Nothing,
        Ok(0) | Err(_) => Unread::End,
    }
}

/// Returns true if the bytes that nobody has read begin with `prefix`. Does not block.
pub fn begins_with(socket: &impl AsFd, prefix: &[u8]) -> bool {
    let mut bytes = [0; PREFIX_BYTES_MAX];
    debug_assert!(prefix.len() <= bytes.len());
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    let peeked = recv(socket.as_fd().as_raw_fd(), &mut bytes, flags);
    peeked.is_ok_and(|count| bytes[..count].starts_with(prefix))
}

/// Returns the address of the other end; `None` on a Unix socket.
pub fn peer_address(socket: &impl AsFd) -> Option<IpAddr> {
    let address = SockRef::from(socket).peer_addr().ok()?;
    address.as_socket().map(|address| address.ip())
}

pub fn tune(socket: &impl AsFd) -> Result<(), SocketError> {
    let result = apply(&SockRef::from(socket));
    result.map_err(|source| SocketError { action: Action::SetOptions, source })
}

pub(super) fn apply(socket: &SockRef<'_>) -> io::Result<()> {
    if is_unix(socket)? {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    // A kernel without the module keeps its own; the record has the name that holds.
    let _ = socket.set_tcp_congestion(CONGESTION.as_bytes());
    Ok(())
}

pub fn read_back(socket: &impl AsFd) -> Result<SocketOptions, SocketError> {
    let result = read_options(&SockRef::from(socket));
    result.map_err(|source| SocketError { action: Action::ReadOptions, source })
}

fn read_options(socket: &SockRef<'_>) -> io::Result<SocketOptions> {
    let mut options = SocketOptions {
        send_buffer_bytes: socket.send_buffer_size()? as u64,
        receive_buffer_bytes: socket.recv_buffer_size()? as u64,
        ..SocketOptions::default()
    };
    if !is_unix(socket)? {
        let name = socket.tcp_congestion()?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        options.nodelay = Some(socket.tcp_nodelay()?);
        options.congestion = Some(String::from_utf8_lossy(name).into_owned());
    }
    Ok(options)
}

fn is_unix(socket: &SockRef<'_>) -> io::Result<bool> {
    Ok(socket.domain()? == Domain::UNIX)
}

impl SocketError {
    pub(super) fn listen(address: &Address, source: io::Error) -> SocketError {
        SocketError { action: Action::Listen(address.clone()), source }
    }

    fn advice(&self) -> Option<&'static str> {
        use io::ErrorKind::{
            AddrInUse, AddrNotAvailable, AlreadyExists, InvalidFilename, NotFound, PermissionDenied,
        };
        Some(match (&self.action, self.source.kind()) {
            (Action::Listen(Address::Tcp(_)), AddrInUse) => {
                "another program listens there: stop it, or choose another port \
                 (0 picks a free one)"
            }
            (Action::Listen(Address::Tcp(_)), PermissionDenied) => "choose a port above 1023",
            (Action::Listen(Address::Tcp(_)), AddrNotAvailable) => {
                "choose an address of this machine"
            }
            (Action::Listen(Address::Unix(_)), AddrInUse) => {
                "another program listens there: stop it, or choose another path"
            }
            (Action::Listen(Address::Unix(_)), AlreadyExists) => {
                "the file there is no socket: remove it, or choose another path"
            }
            (Action::Listen(Address::Unix(_)), NotFound) => {
                "create the folder, or choose another path"
            }
            (Action::Listen(Address::Unix(_)), PermissionDenied) => {
                "choose a folder in which this user may create files"
            }
            (Action::Connect(Address::Unix(_)), NotFound) => "start the server first",
            (Action::Connect(Address::Unix(_)), PermissionDenied) => {
                "run both ends as the same user"
            }
            (_, InvalidFilename) => "choose a shorter path",
            _ => return None,
        })
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Listen(address) => write!(f, "cannot listen on {address}"),
            Action::Connect(address) => write!(f, "cannot connect to {address}"),
            Action::SetOptions => write!(f, "cannot set options of a socket"),
            Action::ReadOptions => write!(f, "cannot read options of a socket"),
        }?;
        write!(f, ": {}", self.source)?;
        self.advice().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

impl Error for SocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::super::listener::Listener;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn available(name: &str) -> bool {
        let list = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
        list.unwrap_or_default().split_whitespace().any(|entry| entry == name)
    }

    #[test]
    fn both_ends_of_a_tcp_connection_have_the_options() {
        let listener = Listener::bind(&Address::FREE_PORT).expect("port 0");
        let address = listener.address().expect("bound");
        let client = connect(&address, TIMEOUT).expect("listening");
        let Listener::Tcp(listener) = listener else { panic!("{listener:?}") };
        let server = listener.accept().expect("connected").0.into();
        for end in [client, server] {
            let options = read_back(&end).expect("connected");
            assert_eq!(options.nodelay, Some(true));
            assert!(options.send_buffer_bytes > 0 && options.receive_buffer_bytes > 0);
            assert_eq!(options.congestion.as_deref() == Some(CONGESTION), available(CONGESTION));
        }
    }

    #[test]
    fn a_started_connect_is_finished_by_the_first_write() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("port 0");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::from(start_connect(&address.into()).expect("started"));
        client.write_all(b"x").expect("connected");
        let mut byte = [0];
        listener.accept().expect("connected").0.read_exact(&mut byte).expect("one came");
        assert_eq!((byte, read_back(&client).expect("connected").nodelay), (*b"x", Some(true)));
    }

    #[test]
    fn tune_sets_what_a_plain_socket_lacks() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("port 0");
        let plain = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        assert_eq!(read_back(&plain).expect("connected").nodelay, Some(false));
        tune(&plain).expect("connected");
        assert_eq!(read_back(&plain).expect("connected").nodelay, Some(true));
    }

    #[test]
    fn a_unix_socket_has_buffers_and_nothing_of_tcp() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("two sockets");
        tune(&socket).expect("there is nothing to set");
        let options = read_back(&socket).expect("connected");
        assert!(options.send_buffer_bytes > 0 && options.receive_buffer_bytes > 0);
        let json = serde_json::to_string(&options).expect("plain data");
        assert!(!json.contains("nodelay") && !json.contains("congestion"), "{json}");
        assert_eq!(serde_json::from_str::<SocketOptions>(&json).expect("read back"), options);
    }
}
