//! Life of a server program, from its ready line to its exit code.
//!
//! stdout gets one ready line and nothing else. stderr gets the alarms of the workers, and at the
//! end what was counted. The first SIGTERM or SIGINT drains and exits with 0. The second exits at
//! once with 128 plus its number.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::alarms::Alarms;
use super::interrupt::number;
use super::output::{status_of, tell};
use super::panic_messages;
use crate::axis::Encoding;
use crate::record::ServerReport;
use crate::record::trial_spec::ServerSpec;
use crate::server::{self, Event, Server, ServerError, Stopped, metrics};
use crate::sys::address::Address;

/// Name of the listener of the view for operators, in the ready line.
const METRICS: &str = "metrics";

/// Serves until a signal or the end of a worker.
pub(super) fn run(
    start: impl FnOnce(&Sender<Event>) -> Result<Server, ServerError>,
    names: &[&str],
    spec: &ServerSpec,
) -> anyhow::Result<()> {
    let (events, arrivals) = channel();
    watch_signals(events.clone()).context("cannot watch for signals")?;
    server::raise_descriptor_limit()?;
    panic_messages::limit();
    let server = start(&events)?;
    let (mut names, mut addresses) = (names.to_vec(), server.addresses().to_vec());
    if let Some(address) = &spec.metrics {
        names.push(METRICS);
        addresses.push(metrics::serve(address, &server)?);
    }
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", ready_line(&names, &addresses))
        .and_then(|()| stdout.flush())
        .context("cannot print the ready line")?;
    drop(stdout);
    if let Some(call) = example_call(&names, &addresses) {
        tell(format!("try: {call}"));
    }
    if let Some(warning) = exposure(&addresses) {
        tell(warning);
    }
    let mut alarms = Alarms::new(server.counts());
    let event = wait(&arrivals, &mut alarms);
    let Stopped { report: said, failure } = server.end();
    alarms.tell_rest();
    let said = said?;
    report(&said);
    if let Some(path) = &spec.report {
        let json = serde_json::to_string(&said).expect("a report is plain data");
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    match event {
        Event::Ended => bail!("a worker ended by itself"),
        Event::Signal | Event::Alarm => Ok(()),
    }
}

/// Tells the alarms until another event comes.
fn wait(arrivals: &Receiver<Event>, alarms: &mut Alarms) -> Event {
    loop {
        let event = match alarms.next_line() {
            None => arrivals.recv().map_err(RecvTimeoutError::from),
            Some(at) => arrivals.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Alarm) | Err(RecvTimeoutError::Timeout) => alarms.tell(Instant::now()),
            Ok(event) => return event,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the caller holds a sender"),
        }
    }
}

/// Tells what was counted, and leaves out what never happened.
fn report(said: &ServerReport) {
    let list = |counts: &BTreeMap<String, u64>| {
        let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    };
    tell(format!("handled {} requests on {} connections", said.requests, said.accepted));
    if !said.refusals.is_empty() {
        tell(format!("refused requests: {}", list(&said.refusals)));
    }
    if !said.limits.is_empty() {
        tell(format!("limits that peers reached: {}", list(&said.limits)));
    }
    if said.panics > 0 {
        tell(format!("requests that failed by a fault of the server: {}", said.panics));
    }
    if said.peer_faults > 0 {
        tell(format!("connections closed for a fault of the peer: {}", said.peer_faults));
    }
}

/// Returns a warning if another machine may reach one of `addresses`.
fn exposure(addresses: &[Address]) -> Option<String> {
    let is_exposed = |address: &&Address| {
        address.tcp().is_some_and(|address| !address.ip().to_canonical().is_loopback())
    };
    let exposed: Vec<String> =
        addresses.iter().filter(is_exposed).map(ToString::to_string).collect();
    (!exposed.is_empty()).then(|| {
        format!(
            "warning: other machines may reach {}, and no client has to authenticate; bind \
             127.0.0.1, or let only trusted peers through a firewall or a proxy",
            exposed.join(" and ")
        )
    })
}

/// Formats `ready grpc=ADDR rest=ADDR`, or `ready ADDR` for one rung.
fn ready_line(names: &[&str], addresses: &[Address]) -> String {
    let mut line = "ready".to_owned();
    for (name, address) in names.iter().zip(addresses) {
        let separator = if name.is_empty() { "" } else { "=" };
        line += &format!(" {name}{separator}{address}");
    }
    line
}

/// Formats a call of the REST listener, for a shell; one rung alone has no listener of this name.
fn example_call(names: &[&str], addresses: &[Address]) -> Option<String> {
    const MESSAGE: &str = r#"{"data": [1.5, 2.5], "dtype": "<f8"}"#;
    let (_, address) = names.iter().zip(addresses).find(|(name, _)| **name == "rest")?;
    let (socket, host) = match address {
        Address::Tcp(address) => (String::new(), address.to_string()),
        Address::Unix(path) => {
            (format!("--unix-socket '{}' ", path.display()), "localhost".to_owned())
        }
    };
    let path = Encoding::Json.path();
    Some(format!("curl {socket}--data '{MESSAGE}' http://{host}{path}"))
}

/// Sends an event at the first signal. The second ends the process at once.
fn watch_signals(events: Sender<Event>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            let _ = events.send(Event::Signal);
        }
        if let Some(signal) = signals.next() {
            std::process::exit(status_of(number(signal)).into());
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::net::{SocketAddr, TcpStream};
    use std::process::{Command, ExitCode, Stdio};
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;
    use crate::cli::output::exit;
    use crate::server::tests::with_a_worker_that_panics;

    /// Far above the time that a loaded machine needs.
    const LONG: Duration = Duration::from_secs(60);

    /// Set for the program, which ends the process of its test.
    const IS_PROGRAM: &str = "NDECHO_TEST_PROGRAM";

    const BEGIN: &[u8] = b"POST /echo_reflect HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab";

    #[test]
    #[ignore = "a program that the test below starts"]
    fn program_with_a_worker_that_panics() {
        if std::env::var_os(IS_PROGRAM).is_none() {
            return;
        }
        let ended = run(with_a_worker_that_panics, &[""], &ServerSpec::default());
        let is_failure = exit("server", ended.map_err(Into::into)) == ExitCode::FAILURE;
        std::process::exit(if is_failure { 1 } else { 0 });
    }

    fn half_a_request(address: SocketAddr) -> TcpStream {
        let mut peer = TcpStream::connect(address).expect("it listens");
        peer.set_read_timeout(Some(LONG)).expect("a positive timeout");
        peer.write_all(BEGIN).expect("room in the socket");
        peer
    }

    /// Sends the rest of a request. The connections of the worker that panicked are gone.
    fn is_answered(mut peer: TcpStream) -> bool {
        let mut reply = Vec::new();
        peer.write_all(b"cd").is_ok()
            && peer.read_to_end(&mut reply).is_ok()
            && reply.starts_with(b"HTTP/1.1 200 ")
            && reply.ends_with(b"\r\n\r\nabcd")
    }

    #[test]
    fn a_worker_that_panics_ends_the_program_with_1_and_the_others_finish_their_requests() {
        let program = "cli::serving::tests::program_with_a_worker_that_panics";
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", program, "--ignored", "--nocapture"])
            .env(IS_PROGRAM, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test starts again");
        // A program that does not end fails the test, and does not hold it up.
        let pid = Pid::from_raw(child.id().try_into().expect("a process id"));
        let (ended, end) = channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if end.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout) {
                kill(pid, Signal::SIGKILL).expect("our child, for which nobody has waited");
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = lines.find_map(|line| {
            let line = line.expect("text");
            line.split_once("ready ")?.1.parse::<SocketAddr>().ok()
        });
        let address = address.expect("a ready line");
        // The kernel spreads them over both workers.
        let peers: Vec<TcpStream> = (0..32).map(|_| half_a_request(address)).collect();
        child.stdin.take().expect("piped").write_all(b"\n").expect("it reads");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut said = String::new();
        while !said.contains("planted by a test") {
            assert!(stderr.read_line(&mut said).expect("text") > 0, "{said}");
        }
        let answered = peers.into_iter().map(is_answered).filter(|yes| *yes).count();
        stderr.read_to_string(&mut said).expect("text");
        drop(ended);
        watchdog.join().expect("it has not panicked");
        assert_eq!(child.wait().expect("our child").code(), Some(1), "{said}");
        assert!(said.contains("a worker panicked; the others have finished"), "{said}");
        let count = format!("handled {answered} requests on ");
        assert!(said.contains(&count), "{said}");
        assert!((1..32).contains(&answered), "{answered} of 32 were answered: {said}");
    }
}
