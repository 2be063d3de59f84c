//! Flags, core, ready line and signals of a server.

use std::net::SocketAddrV4;
use std::os::fd::BorrowedFd;
use std::process::exit;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{SockaddrIn, getsockname, getsockopt, sockopt};
use nix::unistd::Pid;

/// Descriptors among which the listener is: it is one of the first of this process.
const DESCRIPTORS: std::ops::Range<i32> = 3..64;

/// Process that runs a server.
pub struct Program {
    /// Value of `--port`; 0 is a free one.
    pub port: u16,
    ends: SigSet,
}

impl Program {
    /// Reads the flags, pins this process to the core of `--cpu`, and blocks the signals that end
    /// it. Call this before any thread starts, because threads inherit the core and the signals.
    pub fn start() -> Program {
        let flags: Vec<String> = std::env::args().skip(1).collect();
        let number = |name: &str| -> Option<u16> {
            let at = flags.iter().position(|flag| flag == name)?;
            Some(flags.get(at + 1)?.parse().unwrap_or_else(|_| fail(&format!("{name}: no number"))))
        };
        if let Some(cpu) = number("--cpu") {
            pin(cpu.into());
        }
        let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        ends.thread_block().unwrap_or_else(|error| fail(&format!("cannot block signals: {error}")));
        Program { port: number("--port").unwrap_or(0), ends }
    }

    /// Prints the ready line once this process listens, and ends it with status 0 at SIGTERM or
    /// SIGINT. Servers call this on a thread that does no other work.
    pub fn run(self) -> ! {
        println!("ready {}", listener());
        self.ends.wait().unwrap_or_else(|error| fail(&format!("cannot wait: {error}")));
        exit(0)
    }
}

/// Waits until this process listens. Some libraries open the listener and do not tell its port.
fn listener() -> SocketAddrV4 {
    loop {
        for number in DESCRIPTORS {
            // SAFETY: the descriptor is only asked for its type, and the listener is never closed.
            let socket = unsafe { BorrowedFd::borrow_raw(number) };
            if getsockopt(&socket, sockopt::AcceptConn) == Ok(true) {
                let address: SockaddrIn = getsockname(number).expect("it is a listener");
                return address.into();
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    let pinned = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    pinned.unwrap_or_else(|error| fail(&format!("core {cpu} is not available: {error}")));
}

/// Ends the program with a message.
pub fn fail(reason: &str) -> ! {
    eprintln!("{reason}");
    exit(1)
}
