//! Well-behaved client on a connection of its own: one small request after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::grpc::{Grpc, framed, request};
use crate::rest::Rest;
use crate::server::Speaks;

/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Served>,
}

/// Answers that a bystander has got.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) answers: u64,
    pub(crate) slowest: Duration,
}

impl Bystander {
    /// Connects and makes the first request.
    pub(crate) fn start(address: SocketAddr, speaks: Speaks) -> Bystander {
        let mut ask = client(address, speaks);
        ask();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut served = Served { answers: 0, slowest: Duration::ZERO };
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                ask();
                served.answers += 1;
                served.slowest = served.slowest.max(begun.elapsed());
                std::thread::sleep(PAUSE);
            }
            served
        });
        Bystander { stop, thread }
    }

    /// Returns the answers, or the reason why one was missing.
    pub(crate) fn stop(self) -> Result<Served, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.unwrap_or_else(|| "an answer was missing".to_owned())
        })
    }
}

fn client(address: SocketAddr, speaks: Speaks) -> Box<dyn FnMut() + Send> {
    match speaks {
        Speaks::Http1 => {
            let mut peer = Rest::connect(address);
            Box::new(move || assert_eq!(peer.post("/echo_reflect", b"x").body, b"x"))
        }
        Speaks::Http2 => {
            let mut peer = Grpc::connect(address);
            Box::new(move || {
                let reply = peer.call(request("application/grpc+reflect"), &[&framed(b"x")]);
                assert_eq!(reply.body, framed(b"x"), "{reply:?}");
            })
        }
    }
}
