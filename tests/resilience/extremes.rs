//! No value of a setting is so large that it breaks the server.

use nix::sys::signal::Signal;

use crate::NDECHO;
use crate::grpc::{Grpc, framed, request};
use crate::program::Program;
use crate::rest::Rest;

const LARGEST: &str = "18446744073709551615";

/// Longest duration that the flags take.
const LONGEST: &str = "18446744073709551615ns";

/// Flags of every limit, each with the largest value.
fn largest() -> Vec<&'static str> {
    let sizes = [
        "--max-message",
        "--long-message",
        "--max-head",
        "--max-fields",
        "--max-connections",
        "--max-per-address",
        "--max-unsent",
        "--memory-budget",
        "--connection-memory",
        "--min-rate",
    ];
    let times = [
        "--head-timeout",
        "--body-timeout",
        "--idle-timeout",
        "--window-timeout",
        "--send-timeout",
        "--drain-timeout",
        "--drain-grace",
    ];
    let with = |value| move |flag| [flag, value];
    sizes
        .into_iter()
        .flat_map(with(LARGEST))
        .chain(times.into_iter().flat_map(with(LONGEST)))
        .collect()
}

#[test]
fn the_largest_value_of_every_limit_is_taken() {
    for driver in ["tokio", "tokio-uring", "uring"] {
        for protocol in ["h1", "h2", "raw"] {
            let rung = format!("{driver}/{protocol}/reflect");
            let flags = [vec!["serve", &rung], largest()].concat();
            let Some(mut program) = Program::start_on_ring(NDECHO, &flags) else { continue };
            let address = program.addresses()[0];
            match protocol {
                "h1" => {
                    let mut cut = Rest::connect(address);
                    for piece in ["POST /echo_reflect HTT", "P/1.1\r\nhost: a\r\ncontent-le"] {
                        cut.send(piece.as_bytes());
                        assert_eq!(Rest::connect(address).post("/echo_reflect", b"x").body, b"x");
                    }
                    cut.send(b"ngth: 3\r\n\r\nabc");
                    assert_eq!(cut.reply().body, b"abc", "{rung}");
                }
                "h2" => {
                    let request = request("application/grpc+reflect");
                    let reply = Grpc::connect(address).call(request, &[&framed(b"abc")]);
                    assert_eq!(reply.body, framed(b"abc"), "{rung}");
                }
                _ => drop(Rest::connect(address)),
            }
            program.signal(Signal::SIGTERM);
            assert_eq!(program.ended(), 0, "{rung}");
        }
    }
}

#[test]
fn a_drain_waits_for_open_requests_with_any_number_of_connections() {
    for driver in ["tokio", "tokio-uring", "uring"] {
        for connections_max in ["4294967296", LARGEST] {
            let rung = format!("{driver}/h1/reflect");
            let flags = ["serve", &rung, "--max-connections", connections_max];
            let Some(mut program) = Program::start_on_ring(NDECHO, &flags) else { continue };
            let address = program.addresses()[0];
            let mut open = Rest::connect(address);
            open.send(b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab");
            assert_eq!(Rest::connect(address).post("/echo_reflect", b"x").status, 200);
            program.signal(Signal::SIGTERM);
            program.wait_until_it_refuses();
            open.send(b"cd");
            assert_eq!(open.reply().body, b"abcd", "{rung} with {connections_max} connections");
            drop(open);
            assert_eq!(program.ended(), 0, "{rung}");
        }
    }
}
