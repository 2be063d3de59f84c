//! Server program as a child process with any flags: started on free ports, awaited by its ready
//! line, ended by signals.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Server process, killed when dropped.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) ready: String,
}

impl Program {
    #[allow(dead_code, reason = "not every test is without a ring")]
    pub(crate) fn start(program: &str, flags: &[&str]) -> Program {
        Program::try_start(program, flags).unwrap_or_else(|said| panic!("{program}: {said}"))
    }

    /// Starts a program like [`Program::start`]. Returns `None` if the machine has no io_uring.
    pub(crate) fn start_on_ring(program: &str, flags: &[&str]) -> Option<Program> {
        match Program::try_start(program, flags) {
            Err(said) if said.contains("io_uring is not available") => {
                eprintln!("left out: {said}");
                None
            }
            started => Some(started.unwrap_or_else(|said| panic!("{program}: {said}"))),
        }
    }

    /// Waits until the program is ready. Returns its stderr if it fails.
    fn try_start(program: &str, flags: &[&str]) -> Result<Program, String> {
        let mut command = Command::new(program);
        let command = command.args(flags).stdin(Stdio::null());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is built");
        let mut ready = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("text");
        let mut program = Program { child, ready: ready.trim_end().to_owned() };
        if program.ready.is_empty() {
            let mut said = String::new();
            let stderr = program.child.stderr.as_mut().expect("it is piped");
            stderr.read_to_string(&mut said).expect("text");
            return Err(said);
        }
        Ok(program)
    }

    /// Returns the addresses of the ready line, in order.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let words = self.ready.strip_prefix("ready ").expect("a ready line").split(' ');
        let address =
            |word: &str| word.rsplit('=').next().expect("a part").parse().expect("an address");
        words.map(address).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits until the program takes no new connections.
    #[allow(dead_code, reason = "not every test stops a program with open connections")]
    pub(crate) fn wait_until_it_refuses(&self) {
        let late = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.addresses()[0]).is_ok() {
            assert!(Instant::now() < late, "it still accepts");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end of the program and returns its exit code.
    pub(crate) fn ended(&mut self) -> i32 {
        let late = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code().expect("no signal ended it");
            }
            assert!(Instant::now() < late, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the output after the ready line.
    #[allow(dead_code, reason = "not every test looks at it")]
    pub(crate) fn printed(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().expect("it is piped").read_to_string(&mut text).expect("text");
        text
    }
}

impl Program {
    /// Returns the stderr of a program that has ended.
    #[allow(dead_code, reason = "not every test looks at it")]
    pub(crate) fn complained(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut text).expect("text");
        text
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // This fails only if the program has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
