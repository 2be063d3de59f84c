//! Memory follows the bytes that have arrived, on any driver.

use ndecho::probe::memory::rss_peak_bytes;

use crate::NDECHO;
use crate::http2::{DATA, PING, Peer, call_head, frame};
use crate::program::Program;

#[test]
fn a_thousand_announced_messages_of_a_connection_cost_little() {
    const CONNECTIONS: u64 = 20;
    // A stream and its entry in the table of streams take some hundred bytes.
    const EACH_MAX: u64 = 1 << 20;
    for driver in ["tokio", "tokio-uring", "uring"] {
        let rung = format!("{driver}/h2/reflect");
        let Some(program) = Program::start_on_ring(NDECHO, &["serve", &rung]) else { continue };
        let announced = [&[0][..], &100_000_u32.to_be_bytes(), b"x"].concat();
        let open = |stream| [call_head(stream), frame(DATA, 0, stream, &announced)].concat();
        let calls: Vec<u8> = (0..1024).flat_map(|at| open(2 * at + 1)).collect();
        let ping = frame(PING, 0, 0, b"pingpong");
        let connect = |bytes: &[u8]| {
            let mut peer = Peer::connect(program.addresses()[0], &[]);
            peer.send(&[bytes, &ping].concat());
            assert!(peer.until(PING, 0).is_some(), "{rung}: it has read all of it");
            peer
        };
        drop(connect(&[]));
        let before = rss_peak_bytes(program.child.id()).expect("it runs");
        let peers: Vec<Peer> = (0..CONNECTIONS).map(|_| connect(&calls)).collect();
        let after = rss_peak_bytes(program.child.id()).expect("it runs");
        let each = (after - before) / CONNECTIONS;
        assert!(each <= EACH_MAX, "{rung}: {} KiB for a connection", each >> 10);
        drop(peers);
    }
}
