//! Reader of a server's counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::program::Program;
use crate::rest::Rest;

/// Far above the time that a loaded machine needs.
const LONG: Duration = Duration::from_secs(30);

/// Flags of a server that serves its counts at a free port.
pub(crate) const METRICS: [&str; 2] = ["--metrics", "127.0.0.1:0"];

/// Returns the last address of the ready line.
pub(crate) fn address(program: &Program) -> SocketAddr {
    let (_, address) = program.ready.rsplit_once(" metrics=").expect("it serves its counts");
    address.parse().expect("an address")
}

/// Reads all counts; a sample with labels is named as it is printed.
pub(crate) fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let mut peer = Rest::connect(address);
    peer.send(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
    let reply = peer.reply();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(reply.body).expect("text");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    samples.map(sample).collect()
}

/// Waits until `name` is `expected`.
pub(crate) fn await_count(address: SocketAddr, name: &str, expected: f64) {
    await_value(address, name, &|got| got == expected);
}

/// Waits until the value of `name` is wanted, and returns it.
pub(crate) fn await_value(address: SocketAddr, name: &str, is_wanted: &dyn Fn(f64) -> bool) -> f64 {
    let late = Instant::now() + LONG;
    loop {
        let counts = scrape(address);
        let got = counts.get(name).unwrap_or_else(|| panic!("no {name} in {counts:#?}"));
        if is_wanted(*got) {
            return *got;
        }
        assert!(Instant::now() < late, "{name} is {got}, not what it should be: {counts:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
