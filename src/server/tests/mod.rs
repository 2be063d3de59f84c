//! The end of a worker reaches the owner of the server, however the worker ends.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;
use crate::driver::tokio::Tokio;
use crate::driver::{Driver as _, StopSignal};
use crate::wire::Pool;

/// Far above the time that a loaded machine needs.
const LONG: Duration = Duration::from_secs(60);

fn two_workers(build: Build) -> (Server, std::sync::mpsc::Receiver<Event>) {
    let listens = vec![Listen { protocol: Protocol::H1, address: Address::FREE_PORT }];
    let plan = Plan { driver: Driver::Tokio, listens, codecs: CodecSet::own() };
    let driver = driver::Options::default();
    let options = Options { cores: vec![None, None], limits: Limits::default(), driver };
    let (events, arrivals) = channel();
    (start_workers(build, &plan, &options, &events).expect("both are up"), arrivals)
}

fn serve_nothing(stop: StopSignal) -> Result<Option<SocketOptions>, ServerError> {
    let driver = Tokio::new(driver::Options::default(), Pool::default())?;
    Ok(driver.run(Vec::new(), stop)?)
}

/// Starts two workers that listen on one address. The first panics once stdin has a line.
pub(crate) fn with_a_worker_that_panics(events: &Sender<Event>) -> Result<Server, ServerError> {
    let listens = vec![Listen { protocol: Protocol::H1, address: Address::FREE_PORT }];
    let plan = Plan { driver: Driver::Tokio, listens, codecs: CodecSet::own() };
    let driver = driver::Options::default();
    let options = Options { cores: vec![None, None], limits: Limits::default(), driver };
    let build: Build = |config, up| {
        if !is_first() {
            let nothing = Plan { driver: Driver::Tokio, listens: vec![], codecs: CodecSet::own() };
            return build::choose(&nothing)?(config, up);
        }
        let _ = up.send(());
        drop(up);
        std::io::stdin().read_line(&mut String::new()).expect("a pipe");
        panic!("planted by a test");
    };
    start_workers(build, &plan, &options, events)
}

fn is_first() -> bool {
    std::thread::current().name() == Some("worker-0")
}

#[test]
fn a_panic_of_one_worker_is_told_and_ends_the_others() {
    let (server, arrivals) = two_workers(|config, up| {
        let _ = up.send(());
        assert!(!is_first(), "planted by a test");
        serve_nothing(config.stop)
    });
    assert!(matches!(arrivals.recv_timeout(LONG), Ok(Event::Ended)));
    assert!(matches!(server.stop(), Err(ServerError::Panicked)));
}

#[test]
fn workers_that_are_stopped_end_well() {
    let (server, arrivals) = two_workers(|config, up| {
        let _ = up.send(());
        serve_nothing(config.stop)
    });
    assert!(arrivals.try_recv().is_err());
    assert_eq!(server.stop().expect("nothing failed").panics, 0);
    assert_eq!(arrivals.try_iter().count(), 2);
}

#[test]
fn a_panic_before_a_worker_is_up_fails_the_start() {
    let listens = vec![Listen { protocol: Protocol::H1, address: Address::FREE_PORT }];
    let plan = Plan { driver: Driver::Tokio, listens, codecs: CodecSet::own() };
    let driver = driver::Options::default();
    let options = Options { cores: vec![None], limits: Limits::default(), driver };
    let build: Build = |_, _| panic!("planted by a test");
    let started = start_workers(build, &plan, &options, &channel().0);
    assert!(matches!(started, Err(ServerError::Panicked)));
}
