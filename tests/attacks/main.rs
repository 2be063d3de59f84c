//! Hostile peers against whole server programs, beside a well-behaved bystander.
//!
//! Each row of the table is an attack. It runs against every server that speaks its protocol: own
//! HTTP/1.1, own HTTP/2 and `h2-crate`, on `uring` and on `tokio`. `tonic-server` is the reference,
//! whose faults are shown but fail nothing. The usual run is a short form with generous bounds. The
//! table in `docs/RELIABILITY.md`, at full length and with the strict bounds, is made by
//!
//! ```text
//! cargo test --release --test attacks -- --ignored --nocapture write_the_table
//! ```

mod bystander;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../resilience/http2.rs"]
mod frames;
#[path = "../peers/grpc.rs"]
mod grpc;
mod h1_rows;
mod h2_rows;
mod peer;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../peers/program.rs"]
mod program;
#[path = "../peers/rest.rs"]
mod rest;
mod server;
mod table;

use std::time::Duration;

use server::{OWN, REFERENCE, Speaks};
use table::{Row, Size, run};

/// Bound of the short form for a bystander, which a busy machine keeps as well.
const CALM: Duration = Duration::from_secs(20);

/// Runs each row against all servers at once.
fn each_row(speaks: Speaks, rows: &[Row]) {
    for row in rows {
        std::thread::scope(|scope| {
            for server in OWN.iter().filter(|server| server.speaks == speaks) {
                scope.spawn(|| {
                    let Some(result) = run(row, server, Size::Short) else { return };
                    let why = result.faults(CALM);
                    assert!(
                        why.is_empty(),
                        "{} on {}: {why:?}\n{result:#?}",
                        row.name,
                        server.name
                    );
                });
            }
        });
    }
}

#[test]
fn http_1_servers_bear_every_attack() {
    each_row(Speaks::Http1, h1_rows::ROWS);
}

#[test]
fn http_2_servers_bear_every_attack() {
    each_row(Speaks::Http2, h2_rows::ROWS);
}

#[test]
#[ignore = "it takes minutes and rewrites a file of the tree"]
fn write_the_table() {
    let mut results = Vec::new();
    for row in h1_rows::ROWS.iter().chain(h2_rows::ROWS) {
        let speak = |server: &&server::Kind| server.speaks == row.speaks;
        for server in OWN.iter().chain(REFERENCE).filter(speak) {
            results.extend(run(row, server, Size::Full));
        }
    }
    table::write(&results);
    let faults: Vec<_> = results.iter().filter(|result| result.is_fault_of_ours()).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
