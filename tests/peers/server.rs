//! Server in the process of the test.

use std::net::SocketAddr;
use std::sync::mpsc::channel;

use ndecho::axis::{Driver, Protocol};
use ndecho::record::ServerReport;
use ndecho::server::{self, Listen, Options, Plan, Server};
use ndecho::service::codecs::CodecSet;
use ndecho::sys::address::Address;
use ndecho::wire::{Limits, WorkerCounts};

/// One worker, not pinned, that serves `protocol` on `driver`; `None` where the machine has no
/// io_uring.
pub(crate) fn start(
    driver: Driver,
    protocol: Protocol,
    codecs: CodecSet,
    limits: Limits,
) -> Option<Running> {
    start_with(driver, protocol, codecs, limits, ndecho::driver::Options::default())
}

/// Does the work of [`start`] with options of the driver.
pub(crate) fn start_with(
    driver: Driver,
    protocol: Protocol,
    codecs: CodecSet,
    limits: Limits,
    of_driver: ndecho::driver::Options,
) -> Option<Running> {
    let address = Address::FREE_PORT;
    let plan = Plan { driver, listens: vec![Listen { protocol, address }], codecs };
    let options = Options { cores: vec![None], limits, driver: of_driver };
    let (events, _) = channel();
    match server::start(&plan, &options, &events) {
        Ok(server) => Some(Running(server)),
        Err(error) if error.to_string().contains("io_uring is not available") => {
            eprintln!("{driver} left out: {error}");
            None
        }
        Err(error) => panic!("{driver}/{protocol}: {error}"),
    }
}

/// Server that runs until it is stopped.
pub(crate) struct Running(Server);

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.addresses()[0].tcp().expect("it listens on TCP")
    }

    #[allow(dead_code, reason = "not every test looks at them")]
    pub(crate) fn counts(&self) -> &'static WorkerCounts {
        self.0.counts()[0]
    }

    pub(crate) fn stop(self) -> ServerReport {
        self.0.stop().expect("workers end well")
    }
}
