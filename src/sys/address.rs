//! Addresses of servers, for every transport.
//!
//! The text of an address is the same in flags, ready lines and records: `127.0.0.1:50051`,
//! `[::1]:50051`, `unix:/run/echo.sock`. A host name is not an address.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::axis::{Transport, serde_by_name};

const UNIX: &str = "unix:";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    /// Path of the socket's file; a relative one starts at the working directory.
    Unix(PathBuf),
}

serde_by_name!(Address);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an address: expected IP:PORT or unix:PATH, e.g. 127.0.0.1:50051, unix:/tmp/a"
)]
pub struct AddressError(String);

impl Address {
    pub const FREE_PORT: Address =
        Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

    /// Makes a local address that nobody uses: a free port, or a new file in the temporary folder.
    pub fn unused(transport: Transport) -> Address {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        match transport {
            Transport::Tcp => Address::FREE_PORT,
            Transport::Unix => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("ndecho-{}-{number}.sock", std::process::id());
                Address::Unix(std::env::temp_dir().join(name))
            }
        }
    }

    pub fn transport(&self) -> Transport {
        match self {
            Address::Tcp(_) => Transport::Tcp,
            Address::Unix(_) => Transport::Unix,
        }
    }

    /// Reads an address, or looks up a host name: `HOST:PORT`. A name such as `localhost` may have
    /// several addresses, of which a server has one; there is at least one.
    pub fn resolve(text: &str) -> io::Result<Vec<Address>> {
        if let Ok(address) = text.parse() {
            return Ok(vec![address]);
        }
        let found: Vec<Address> = text.to_socket_addrs()?.map(Address::Tcp).collect();
        if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
    }

    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let bad = || AddressError(text.to_owned());
        match text.strip_prefix(UNIX) {
            Some("") => Err(bad()),
            Some(path) => Ok(Address::Unix(path.into())),
            None => text.parse().map(Address::Tcp).map_err(|_| bad()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["127.0.0.1:50051", "[::1]:0", "unix:/run/echo.sock", "unix:echo.sock"] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
            assert_eq!(address.tcp().is_none(), text.starts_with("unix:"));
        }
        for text in ["", "unix:", "127.0.0.1", "localhost:1", "/run/echo.sock", "unix//a"] {
            let error = text.parse::<Address>().expect_err(text);
            assert_eq!(error, AddressError(text.to_owned()));
        }
        let resolved = Address::resolve("localhost:7").expect("every machine has it");
        assert!(resolved.iter().all(|one| one.tcp().is_some_and(|address| address.port() == 7)));
    }
}
