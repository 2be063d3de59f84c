//! h2load, a load generator that nobody here wrote: one process for each slice.
//!
//! It speaks gRPC over HTTP/2 and REST over HTTP/1.1. It sends one request again and again, and
//! reads nothing of a reply but its HTTP status. So this module also compares the bytes of the
//! replies; what they hold was checked before the first trial.
//!
//! The CPU time of a slice is the difference between two readings of the idle server's clock,
//! before and after the process. It contains the set-up of the connections.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::axis::Family;
use crate::load::message::{Body, Message};
use crate::load::worker;
use crate::probe::cpu_clock::{self, CpuTime};
use crate::probe::memory;
use crate::record::trial_spec::{Length, LoadSpec, RequestHeaders};
use crate::record::{Measurement, Slice};
use crate::service::routes::GRPC_PATH;
use crate::sys::child::ChildError;
use crate::wire::grpc::prefix_of;

use super::commands::Commands;
use super::process::{self, Failure};

const NAME: &str = "h2load";

/// Largest factor between the requests of one calibration and the next.
const GROWTH_MAX: f64 = 16.0;

#[derive(Debug)]
pub struct H2load {
    flags: Vec<String>,
    server_pid: u32,
    body: PathBuf,
    request_bytes: u64,
    /// Known after the first process.
    reply_bytes: Option<u64>,
    requests: u64,
    total: Measurement,
}

/// Summary that h2load prints.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    rate_hz: f64,
    requests_2xx: u64,
    data_bytes: u64,
    all_bytes: u64,
}

/// Returns the name and version of the program.
pub fn version() -> anyhow::Result<String> {
    let output = Command::new(NAME).arg("--version").stdin(Stdio::null()).output();
    let output = output
        .context("--client h2load needs the program h2load: install the package nghttp2-client")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(text.starts_with(NAME), "h2load --version printed {text:?}, expected its version");
    Ok(text)
}

impl H2load {
    /// Loads the server with more and more requests, until they take about the time of a slice.
    pub fn start(
        commands: &Commands<'_>,
        spec: &LoadSpec,
        body: PathBuf,
        stop: &AtomicBool,
    ) -> Result<H2load, Failure> {
        let message = request(spec)?;
        fs::write(&body, &message).map_err(cannot_start)?;
        let target = spec.target();
        let mut load = H2load {
            flags: flags(spec, &body),
            server_pid: target.pid.expect("the runner started the server"),
            body,
            request_bytes: message.len() as u64,
            reply_bytes: None,
            requests: u64::from(spec.in_flight).max(2),
            total: Measurement::default(),
        };
        let Length::Time(slice) = spec.window else { return Ok(load) };
        let least = load.requests;
        loop {
            let tried = load.run(commands, stop)?;
            let growth = slice.as_nanos() as f64 / tried.wall_ns as f64;
            let requests = load.requests as f64 * growth.min(GROWTH_MAX);
            load.requests = (requests as u64).max(least);
            if growth < 2.0 {
                load.total = Measurement::default();
                return Ok(load);
            }
        }
    }

    /// Loads the server for one slice.
    pub fn slice(&mut self, commands: &Commands<'_>, stop: &AtomicBool) -> Result<Slice, Failure> {
        self.run(commands, stop)
    }

    /// Returns the sums over all slices. h2load tells no latencies that could be merged.
    pub fn finish(self) -> Measurement {
        let rss_peak_bytes = memory::rss_peak_bytes(self.server_pid).ok();
        Measurement { server_rss_peak_bytes: rss_peak_bytes, ..self.total.clone() }
    }

    fn run(&mut self, commands: &Commands<'_>, stop: &AtomicBool) -> Result<Slice, Failure> {
        let mut command = commands.pinned(commands.testbed.cpu_client);
        command.arg(NAME).args(["-n", &self.requests.to_string()]).args(&self.flags);
        let (server, client_ns) = (self.server_cpu()?, children_cpu_ns());
        let text = process::output(NAME, &mut command, commands.plan.budget, stop)?;
        let client_work_ns = children_cpu_ns().saturating_sub(client_ns);
        let used = cpu_clock::used(server, self.server_cpu()?);
        let summary = Summary::parse(&text).and_then(|summary| self.check(summary))?;
        let wall_ns = (self.requests as f64 * 1e9 / summary.rate_hz) as u64;
        let total = &mut self.total;
        total.requests += self.requests;
        total.wall_ns += wall_ns;
        total.bytes_in += summary.all_bytes;
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

    /// Refuses replies without status 2xx, and replies that are shorter than half of the request or
    /// differ in length from the first ones. A failed gRPC call has no bytes and status 200.
    fn check(&mut self, summary: Summary) -> Result<Summary, Failure> {
        let Summary { requests_2xx, data_bytes, .. } = summary;
        let each = *self.reply_bytes.get_or_insert(data_bytes / self.requests);
        let is_right = requests_2xx == self.requests
            && data_bytes == self.requests * each
            && 2 * each >= self.request_bytes;
        if is_right {
            return Ok(summary);
        }
        let got = format!("{requests_2xx} replies with 2xx, {data_bytes} B");
        let expected = format!("{} replies of one length, like the request", self.requests);
        Err(ChildError::Answer { who: NAME, got, expected }.into())
    }

    fn server_cpu(&self) -> Result<CpuTime, Failure> {
        cpu_clock::idle_cpu(self.server_pid).map_err(|error| {
            let how = format!("has no CPU clock: {error}");
            ChildError::Died { who: "server", how }.into()
        })
    }
}

impl Drop for H2load {
    fn drop(&mut self) {
        // A file that stays is replaced by the next launch.
        let _ = fs::remove_file(&self.body);
    }
}

/// Encodes the request of `spec` as our own load generator does, with the prefix of gRPC.
fn request(spec: &LoadSpec) -> Result<Vec<u8>, Failure> {
    let body = Body::from(spec.encoding);
    let mut arrays = worker::arrays(&spec.array, body).map_err(cannot_start)?;
    let message = Message::new(body, arrays.swap_remove(0), 0).map_err(cannot_start)?;
    let bytes: &[u8] = &message.form.bytes;
    let prefix = match spec.target().url.family {
        Family::Grpc => prefix_of(bytes.len()).map_err(|status| cannot_start(status.text))?,
        Family::Rest | Family::Raw => return Ok(bytes.to_vec()),
    };
    Ok([prefix.as_slice(), bytes].concat())
}

fn flags(spec: &LoadSpec, body: &std::path::Path) -> Vec<String> {
    let (encoding, authority) = (spec.encoding, spec.target().url.authority());
    let streams = spec.in_flight / spec.connections;
    let mut flags: Vec<String> =
        ["-t", "1", "-c", &spec.connections.to_string(), "-m", &streams.to_string(), "-d"]
            .map(str::to_owned)
            .into();
    flags.push(body.to_string_lossy().into_owned());
    let mut field = |name: &str, value: &str| {
        flags.extend(["-H".to_owned(), format!("{name}: {value}")]);
    };
    if spec.knobs.headers != RequestHeaders::Equal {
        field("traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01");
    }
    if spec.target().url.family == Family::Rest {
        field("content-type", encoding.content_type());
        flags.extend(["--h1".to_owned(), format!("http://{authority}{}", encoding.path())]);
        return flags;
    }
    field("content-type", encoding.grpc_content_type());
    field("te", "trailers");
    let bits = (u32::BITS - (spec.knobs.h2_window_bytes - 1).leading_zeros()).clamp(1, 30);
    let windows = ["-w", "-W"].map(|flag| [flag.to_owned(), bits.to_string()]);
    flags.extend(windows.into_iter().flatten());
    flags.extend(["-f".to_owned(), spec.knobs.h2_frame_bytes_max.to_string()]);
    flags.push(format!("http://{authority}{GRPC_PATH}"));
    flags
}

impl Summary {
    fn parse(text: &str) -> Result<Summary, Failure> {
        let parse = || {
            Some(Summary {
                rate_hz: number_before(text, " req/s,").filter(|rate: &f64| *rate > 0.0)?,
                requests_2xx: number_before(text, " 2xx,")?,
                data_bytes: number_before(text, ") data")?,
                all_bytes: number_before(text, ") total")?,
            })
        };
        parse().ok_or_else(|| {
            let got = text.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
            let expected = "a summary with req/s, 2xx and data".to_owned();
            ChildError::Answer { who: NAME, got: got.to_owned(), expected }.into()
        })
    }
}

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

fn cannot_start(error: impl Display) -> Failure {
    ChildError::Spawn { program: NAME.to_owned(), reason: error.to_string() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Encoding;

    const TEXT: &str = "starting benchmark...\nprogress: 100% done\n\n\
        finished in 11.94ms, 837.45 req/s, 93.64KB/s\n\
        requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 10 2xx, 0 3xx, 0 4xx, 0 5xx\n\
        traffic: 1.12KB (1145) total, 1000B (1000) headers (space savings 10.71%), 0B (270) data\n";

    fn load() -> H2load {
        H2load {
            flags: Vec::new(),
            server_pid: 1,
            body: PathBuf::new(),
            request_bytes: 28,
            reply_bytes: None,
            requests: 10,
            total: Measurement::default(),
        }
    }

    #[test]
    fn a_summary_is_read() {
        let summary = Summary::parse(TEXT).expect("it is whole");
        let expected =
            Summary { rate_hz: 837.45, requests_2xx: 10, data_bytes: 270, all_bytes: 1145 };
        assert_eq!(summary, expected);
        let failure = Summary::parse("progress: 10% done\n\n").expect_err("it is not whole");
        assert!(failure.error.to_string().contains("said \"progress: 10% done\""));
    }

    #[test]
    fn replies_that_fail_or_change_their_length_are_refused() {
        let summary = Summary::parse(TEXT).expect("it is whole");
        let mut load = load();
        load.check(summary).expect("27 bytes each");
        for wrong in [
            Summary { requests_2xx: 9, ..summary },
            Summary { data_bytes: 280, ..summary },
            Summary { data_bytes: 0, ..summary },
        ] {
            assert!(load.check(wrong).is_err(), "{wrong:?}");
        }
        let empty = Summary { data_bytes: 0, ..summary };
        assert!(self::load().check(empty).is_err());
    }

    #[test]
    fn windows_and_streams_are_those_of_our_own_client() {
        let url = "grpc://127.0.0.1:7".parse().expect("a URL");
        let spec =
            LoadSpec { connections: 2, in_flight: 64, ..LoadSpec::new(url, Encoding::Protobuf) };
        let flags = flags(&spec, std::path::Path::new("body")).join(" ");
        assert!(flags.starts_with("-t 1 -c 2 -m 32 -d body -H traceparent: "), "{flags}");
        let end = "-w 26 -W 26 -f 1048576 http://127.0.0.1:7/Calculator/Echo";
        assert!(flags.ends_with(end), "{flags}");
        let message = request(&spec).expect("it can be encoded");
        let bytes = u32::try_from(message.len() - 5).expect("64 KiB").to_be_bytes();
        assert_eq!((message[0], &message[1..5]), (0, bytes.as_slice()));
    }
}
