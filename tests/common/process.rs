//! Server program as a child process: started on free ports, awaited by its ready line, stopped by
//! its process id.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Running server. A drop sends SIGTERM and waits for its end.
pub(crate) struct Server {
    child: Child,
    addresses: HashMap<String, String>,
}

impl Server {
    /// Starts `program` and waits for `ready NAME=ADDR ...`.
    pub(crate) fn start(program: &str, args: &[&str]) -> Server {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout was piped");
        BufReader::new(stdout).read_line(&mut line).expect("the ready line is text");
        let mut server = Server { child, addresses: HashMap::new() };
        let words = line.strip_prefix("ready ").unwrap_or_else(|| {
            panic!("{program} did not get ready: {line:?}");
        });
        for word in words.split_whitespace() {
            let (name, address) = word.split_once('=').unwrap_or(("", word));
            server.addresses.insert(name.to_owned(), address.to_owned());
        }
        server
    }

    /// Returns the address of the listener `name` in the ready line.
    pub(crate) fn address(&self, name: &str) -> &str {
        &self.addresses[name]
    }

    #[allow(dead_code)] // Not every test file asks for it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let stopped = kill(pid, Signal::SIGTERM);
        let status = self.child.wait();
        if !std::thread::panicking() {
            stopped.expect("the server was still running");
            let status = status.expect("the server can be waited for");
            assert!(status.success(), "the server ended with {status}");
        }
    }
}
