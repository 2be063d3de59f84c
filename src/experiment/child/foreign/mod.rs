//! Load generators that nobody here wrote: one process for each slice.
//!
//! Such a program sends one request again and again, and reads nothing of a reply but its HTTP
//! status. So this module also compares the lengths of the replies; what they hold was checked
//! before the first trial.
//!
//! The CPU time of a slice is the difference between two readings of the idle server's clock,
//! before and after the process. It contains the set-up of the connections.

mod h2load;
mod wrk;

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::axis::Family;
use crate::codec;
use crate::load::message::{Body, Message};
use crate::load::worker;
use crate::probe::cpu_clock::{self, CpuTime};
use crate::probe::memory;
use crate::record::trial_spec::{Length, LoadSpec};
use crate::record::{Client, Measurement, Slice};
use crate::sys::child::ChildError;
use crate::wire::grpc::prefix_of;
use crate::wire::json_head;

use super::commands::Commands;
use super::process::{self, Failure};

/// Largest factor between the requests of one calibration and the next.
const GROWTH_MAX: f64 = 16.0;

/// Properties of a program.
#[derive(Debug)]
struct Program {
    name: &'static str,
    /// Debian's package of the program.
    package: &'static str,
    version_flag: &'static str,
    /// Text of a file that the program reads next to the body of its requests.
    script: &'static str,
    arguments: fn(&Process<'_>) -> Vec<String>,
    /// Reads what the program printed.
    parse: fn(&str) -> Option<Summary>,
}

/// Facts that a program's arguments tell.
struct Process<'a> {
    spec: &'a LoadSpec,
    requests: u64,
    body: &'a str,
    script: &'a str,
    /// Field that the body needs, as `name: value`.
    field: Option<&'a str>,
    timeout: Duration,
}

/// Summary that a program prints.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    wall_ns: u64,
    /// Replies with a status of success.
    replies: u64,
    /// Bytes of the replies, of which each has the same number.
    reply_bytes: u64,
    /// Bytes received in all.
    bytes_in: u64,
}

#[derive(Debug)]
pub struct ForeignLoad {
    program: &'static Program,
    spec: LoadSpec,
    server_pid: u32,
    body: PathBuf,
    script: PathBuf,
    field: Option<String>,
    request_bytes: u64,
    /// Known after the first process.
    reply_bytes: Option<u64>,
    requests: u64,
    total: Measurement,
}

/// Returns the program of `client`; `None` for a client that loads a server in another way.
fn program(client: Client) -> Option<&'static Program> {
    match client {
        Client::Own | Client::Python => None,
        Client::H2load => Some(&h2load::H2LOAD),
        Client::Wrk => Some(&wrk::WRK),
    }
}

/// Returns name and version of the program of `client`; `None` for a client that is none.
pub fn version(client: Client) -> anyhow::Result<Option<String>> {
    program(client).map(Program::version).transpose()
}

/// Returns the field for the length of the JSON that `message` begins with, if bytes follow it.
fn json_head_field(spec: &LoadSpec, message: &[u8]) -> Option<String> {
    let is_rest = spec.target().url.family == Family::Rest;
    let head_len = codec::json_head_len(spec.encoding).filter(|_| is_rest)?(message)?;
    Some(format!("{}: {head_len}", json_head::FIELD))
}

impl Program {
    fn version(&self) -> anyhow::Result<String> {
        let Program { name, package, version_flag, .. } = self;
        let output = Command::new(name).arg(version_flag).stdin(Stdio::null()).output();
        let output = output.with_context(|| {
            format!("--client {name} needs the program {name}: install the package {package}")
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        // wrk names its event loop and its author too.
        let version = text.lines().next().and_then(|line| line.split(" [").next());
        let version = version.unwrap_or_default().trim();
        ensure!(
            version.starts_with(name),
            "{name} {version_flag} printed {version:?}, expected its version"
        );
        Ok(version.to_owned())
    }
}

impl ForeignLoad {
    /// Loads the server with more and more requests, until they take about the time of a slice.
    /// `body` is the path of a file for the request. Returns `None` for a client that is no program
    /// of others.
    pub fn start(
        client: Client,
        commands: &Commands<'_>,
        spec: &LoadSpec,
        body: PathBuf,
        stop: &AtomicBool,
    ) -> Option<Result<ForeignLoad, Failure>> {
        let program = program(client)?;
        Some(ForeignLoad::new(program, spec, body).and_then(|load| load.calibrated(commands, stop)))
    }

    fn new(
        program: &'static Program,
        spec: &LoadSpec,
        body: PathBuf,
    ) -> Result<ForeignLoad, Failure> {
        let message = request(program, spec)?;
        let load = ForeignLoad {
            program,
            server_pid: spec.target().pid.expect("the runner started the server"),
            script: body.with_extension("script"),
            field: json_head_field(spec, &message),
            body,
            request_bytes: message.len() as u64,
            reply_bytes: None,
            requests: u64::from(spec.in_flight).max(2),
            spec: spec.clone(),
            total: Measurement::default(),
        };
        let written = fs::write(&load.body, &message);
        let written = written.and_then(|()| fs::write(&load.script, program.script));
        written.map_err(|error| cannot_start(program, error))?;
        Ok(load)
    }

    fn calibrated(
        mut self,
        commands: &Commands<'_>,
        stop: &AtomicBool,
    ) -> Result<ForeignLoad, Failure> {
        let Length::Time(slice) = self.spec.window else { return Ok(self) };
        let least = self.requests;
        loop {
            let tried = self.slice(commands, stop)?;
            let growth = slice.as_nanos() as f64 / tried.wall_ns.max(1) as f64;
            let requests = self.requests as f64 * growth.min(GROWTH_MAX);
            self.requests = (requests as u64).max(least);
            if growth < 2.0 {
                self.total = Measurement::default();
                return Ok(self);
            }
        }
    }

    /// Loads the server for one slice.
    pub fn slice(&mut self, commands: &Commands<'_>, stop: &AtomicBool) -> Result<Slice, Failure> {
        let mut command = commands.pinned(commands.testbed.cpu_client);
        command.arg(self.program.name).args((self.program.arguments)(&Process {
            spec: &self.spec,
            requests: self.requests,
            body: &self.body.to_string_lossy(),
            script: &self.script.to_string_lossy(),
            field: self.field.as_deref(),
            timeout: commands.plan.budget,
        }));
        let (server, client_ns) = (self.server_cpu()?, children_cpu_ns());
        let text = process::output(self.program.name, &mut command, commands.plan.budget, stop)?;
        let client_work_ns = children_cpu_ns().saturating_sub(client_ns);
        let used = cpu_clock::used(server, self.server_cpu()?);
        let Summary { wall_ns, bytes_in, .. } = self.summary(&text)?;
        let total = &mut self.total;
        total.requests += self.requests;
        total.wall_ns += wall_ns;
        total.bytes_in += bytes_in;
        total.client_cpu.total_ns += client_work_ns;
        total.server_cpu = Some(cpu_clock::sum(total.server_cpu.unwrap_or_default(), used));
        Ok(Slice {
            requests: self.requests,
            wall_ns,
            server_cpu_ns: Some(used.total_ns),
            client_work_ns,
            ..Slice::default()
        })
    }

    /// Returns the sums over all slices. The programs tell no latencies that could be merged.
    pub fn finish(self) -> Measurement {
        let rss_peak_bytes = memory::rss_peak_bytes(self.server_pid).ok();
        Measurement { server_rss_peak_bytes: rss_peak_bytes, ..self.total.clone() }
    }

    /// Refuses replies without a status of success, and replies that are shorter than half of the
    /// request or differ in length from the first ones. A failed gRPC call has no bytes and status
    /// 200.
    fn summary(&mut self, text: &str) -> Result<Summary, Failure> {
        let unlike = |got: &str, expected: String| {
            ChildError::Answer { who: self.program.name, got: got.to_owned(), expected }.into()
        };
        let Some(summary) = (self.program.parse)(text) else {
            let last = text.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
            return Err(unlike(last, "a summary with replies, time and bytes".to_owned()));
        };
        let Summary { replies, reply_bytes, .. } = summary;
        let each = self.reply_bytes.unwrap_or(reply_bytes / self.requests);
        let is_right = replies == self.requests
            && reply_bytes == self.requests * each
            && 2 * each >= self.request_bytes;
        if !is_right {
            let got = format!("{replies} successful replies, {reply_bytes} B");
            let expected = format!("{} replies of one length, like the request", self.requests);
            return Err(unlike(&got, expected));
        }
        self.reply_bytes = Some(each);
        Ok(summary)
    }

    fn server_cpu(&self) -> Result<CpuTime, Failure> {
        cpu_clock::idle_cpu(self.server_pid).map_err(|error| {
            let how = format!("has no CPU clock: {error}");
            ChildError::Died { who: "server", how }.into()
        })
    }
}

impl Drop for ForeignLoad {
    fn drop(&mut self) {
        // A file that stays is replaced by the next launch.
        let _ = fs::remove_file(&self.body);
        let _ = fs::remove_file(&self.script);
    }
}

/// Encodes the request of `spec` as our own load generator does, with the prefix of gRPC.
fn request(program: &Program, spec: &LoadSpec) -> Result<Vec<u8>, Failure> {
    let body = Body::from(spec.encoding);
    let arrays = worker::arrays(&spec.array, body);
    let mut arrays = arrays.map_err(|error| cannot_start(program, error))?;
    let message = Message::new(body, arrays.swap_remove(0), 0);
    let message = message.map_err(|error| cannot_start(program, error))?;
    let bytes: &[u8] = &message.form.bytes;
    let prefix = match spec.target().url.family {
        Family::Grpc => {
            prefix_of(bytes.len()).map_err(|status| cannot_start(program, status.text))?
        }
        Family::Rest | Family::Raw | Family::Zmtp => return Ok(bytes.to_vec()),
    };
    Ok([prefix.as_slice(), bytes].concat())
}

fn cannot_start(program: &Program, error: impl Display) -> Failure {
    ChildError::Spawn { program: program.name.to_owned(), reason: error.to_string() }.into()
}

/// Reads the number that stands before `end`.
fn number_before<T: FromStr>(text: &str, end: &str) -> Option<T> {
    let before = &text[..text.find(end)?];
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    before[before.trim_end_matches(is_part).len()..].parse().ok()
}

/// Returns the CPU time of the children that this process has waited for.
fn children_cpu_ns() -> u64 {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).map(|usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) * 1000
    });
    used.map_or(0, i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Encoding;

    fn load() -> ForeignLoad {
        let url = "http://127.0.0.1:7".parse().expect("a URL");
        ForeignLoad {
            program: &wrk::WRK,
            spec: LoadSpec::new(url, Encoding::Npy),
            server_pid: 1,
            body: PathBuf::new(),
            field: None,
            script: PathBuf::new(),
            request_bytes: 28,
            reply_bytes: None,
            requests: 10,
            total: Measurement::default(),
        }
    }

    fn text(replies: u64, failed: u64, bytes: u64) -> String {
        format!("{replies} replies, {failed} failed, {bytes} B, 1000 us\n")
    }

    #[test]
    fn replies_that_fail_or_change_their_length_are_refused() {
        let mut load = load();
        load.summary(&text(10, 0, 270)).expect("27 bytes each");
        load.summary(&text(10, 0, 270)).expect("the same again");
        for wrong in [text(10, 1, 270), text(9, 0, 270), text(10, 0, 280), text(10, 0, 0)] {
            assert!(load.summary(&wrong).is_err(), "{wrong}");
        }
        assert!(self::load().summary(&text(10, 0, 0)).is_err(), "no bytes from the start");
    }

    #[test]
    fn a_program_that_prints_no_summary_is_quoted() {
        let failure = load().summary("progress: 10% done\n\n").expect_err("it is not whole");
        assert!(failure.error.to_string().contains("said \"progress: 10% done\""));
    }

    #[test]
    fn the_request_of_a_grpc_server_has_the_prefix() {
        let url = "grpc://127.0.0.1:7".parse().expect("a URL");
        let spec = LoadSpec::new(url, Encoding::Protobuf);
        let message = request(&h2load::H2LOAD, &spec).expect("it can be encoded");
        let bytes = u32::try_from(message.len() - 5).expect("64 KiB").to_be_bytes();
        assert_eq!((message[0], &message[1..5]), (0, bytes.as_slice()));
    }
}
