//! Broken external servers: a server that dies, hangs, sends wrong replies or cannot be installed
//! is a row with a reason, and the run continues.
//!
//! Without python3 these tests are skipped with a message. With `CI` set, they fail instead.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ndecho::record::{Line, Outcome, Slice, Trial, Variant};
use nix::sys::signal::kill;
use nix::unistd::Pid;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/external/server.py");

/// Skips on a user's machine, fails in CI.
fn is_missing(program: &str) -> bool {
    let is_missing = Command::new(program).arg("--version").output().is_err();
    if is_missing {
        assert!(std::env::var_os("CI").is_none(), "{program} is needed in CI");
        eprintln!("skipped: {program} is not here");
    }
    is_missing
}

/// Folder of external servers that a test writes, and of the runs over them.
struct Servers {
    home: tempfile::TempDir,
}

impl Servers {
    fn new() -> Servers {
        Servers { home: tempfile::tempdir().expect("a folder") }
    }

    /// Adds the fixture in `mode` as a server. `more` holds further lines of its manifest.
    fn add(&self, name: &str, mode: &str, port: &str, more: &str) {
        let text = format!(
            "name = \"{name}\"\nabout = \"a fixture\"\nlanguage = \"Python\"\nlicence = \"MIT\"\nversion = \"1\"\n\
             protocol = \"h1\"\ncodecs = [\"npy\"]\n\
             [start]\ncommand = [\"python3\", \"{SERVER}\", \"{mode}\", \"{port}\"]\nready = \"ready {{address}}\"\n{more}\n"
        );
        let folder = self.home.path().join("servers").join(name);
        std::fs::create_dir_all(&folder).expect("it is ours");
        std::fs::write(folder.join("manifest.toml"), text).expect("it can be written");
    }

    fn out(&self) -> PathBuf {
        self.home.path().join("run")
    }

    /// Runs a short ladder over all servers.
    fn ladder(&self, extra: &[&str]) -> Output {
        let mut command = Command::new(NDECHO);
        command.args(["ladder", "--rounds", "1", "--duration", "200ms"]);
        if !extra.contains(&"--rungs") {
            command.args(["--rungs", "external/*"]);
        }
        command.args(["--sizes", "8", "--connections", "2", "--budget", "3s"]).args(extra);
        command
            .arg("--out")
            .arg(self.out())
            .arg("--external-dir")
            .arg(self.home.path().join("servers"));
        command.arg("--environments").arg(self.home.path().join("environments"));
        command.output().expect("the binary is built")
    }

    /// Starts a ladder that runs for longer than a test.
    fn long_ladder(&self) -> Child {
        let mut command = Command::new(NDECHO);
        command.args(["ladder", "--rungs", "external/*", "--sizes", "8", "--duration", "1m"]);
        command.args(["--budget", "2m", "--out"]).arg(self.out());
        command.arg("--external-dir").arg(self.home.path().join("servers"));
        command.stderr(Stdio::null()).spawn().expect("it starts")
    }

    fn trials(&self) -> Vec<Trial> {
        trials(&self.out())
    }

    /// Returns the outcome of the only trial of the server `name`.
    fn outcome(&self, name: &str) -> Outcome {
        let rung = format!("external/{name}/npy");
        let mut found = self.trials().into_iter().filter(|trial| trial.rung == rung);
        let trial = found.next().unwrap_or_else(|| panic!("{rung} has no record"));
        assert!(found.next().is_none() && trial.parent.is_none(), "{rung}");
        trial.outcome
    }
}

fn trials(out: &Path) -> Vec<Trial> {
    let text = std::fs::read_to_string(out.join("records.jsonl")).expect("records");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("a record"));
    lines
        .filter_map(|line| match line {
            Line::Trial(trial) if trial.variant != Variant::Null => Some(*trial),
            Line::Trial(_) | Line::Header(_) | Line::Conformance(_) | Line::Lane(_) => None,
        })
        .collect()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn failure(outcome: Outcome) -> (String, String) {
    match outcome {
        Outcome::Failed { reason, stderr } => (reason, stderr),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failing_server_is_a_row_with_its_reason_and_the_run_continues() {
    if is_missing("python3") {
        return;
    }
    let servers = Servers::new();
    for mode in ["right", "wrong", "learnt", "dies", "dies-early", "dies-late", "hangs", "mute"] {
        servers.add(mode, mode, "{port}", "");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    servers.add("no-port", "right", &port, "");
    let output = servers.ladder(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let Outcome::Measured(right) = servers.outcome("right") else {
        panic!("{:?}", servers.trials())
    };
    let is_whole = |slice: &Slice| slice.requests > 0 && slice.cost_ns().is_some();
    assert!(right.slices.len() == 5 && right.slices.iter().all(is_whole), "{:?}", right.slices);

    let cases = [
        ("wrong", "wrong reply", "about to serve"),
        ("learnt", "array 1 of 48, ", "about to serve"),
        ("dies", "the server died: out of luck", "out of luck"),
        ("dies-late", "the server died: tired of it", "tired of it"),
        ("dies-early", "exit status: 1: no luck at all", "no luck at all"),
        ("hangs", "the server hangs", "about to serve"),
        ("mute", "the server was not ready after 3s", ""),
        ("no-port", "another program uses the port", "Address already in use"),
    ];
    for (name, word, last) in cases {
        let (reason, stderr) = failure(servers.outcome(name));
        assert!(reason.contains(word) && reason.lines().count() == 1, "{name}: {reason}");
        assert!(stderr.contains(last), "{name}: {stderr}");
        let row = format!("  external/{name}/npy ");
        let printed = text(&output);
        assert!(printed.contains(&row), "{name}: {printed}");
        // A long reason goes on below its row.
        let rows = printed.split(&row).skip(1);
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut reasons = rows.map(|rest| flat(rest.split("\n  external/").next().unwrap_or(rest)));
        assert!(reasons.any(|reason| reason.contains(word)), "{name}: {printed}");
    }
}

#[test]
fn only_a_server_that_cannot_be_installed_is_skipped() {
    if is_missing("python3") {
        return;
    }
    let servers = Servers::new();
    servers.add("right", "right", "{port}", "");
    servers.add("needy", "right", "{port}", "[setup]\nneeds = [\"no-such-program\"]");
    let step = "[setup]\nsteps = [[\"sh\", \"-c\", \"echo ensurepip is not available; exit 1\"]]";
    servers.add("no-venv", "right", "{port}", step);
    servers.add("large", "right", "{port}", "[limits]\nbody_bytes_max = 100");
    let output = servers.ladder(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(matches!(servers.outcome("right"), Outcome::Measured(_)));
    for (name, word) in [
        ("needy", "needs no-such-program"),
        ("no-venv", "apt install python3-venv"),
        ("large", "the server accepts 100 B"),
    ] {
        match servers.outcome(name) {
            Outcome::Skipped { reason } => assert!(reason.contains(word), "{name}: {reason}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn an_environment_is_made_on_first_use_only() {
    if is_missing("python3") {
        return;
    }
    let servers = Servers::new();
    let step = "[setup]\nsteps = [[\"sh\", \"-c\", \"echo made > {env}/it\"]]";
    servers.add("right", "right", "{port}", step);
    let said = |extra: &[&str]| {
        let output = servers.ladder(extra);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        std::fs::remove_dir_all(servers.out()).ok();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let line = "setting up \"right\" for external servers, step 1 of 1";
    assert!(!said(&["--list"]).contains(line), "a list tries nothing");
    assert!(said(&[]).contains(line));
    assert!(!said(&[]).contains(line));
}

#[test]
fn a_server_with_a_limit_gets_less_load_and_the_table_says_so() {
    if is_missing("python3") {
        return;
    }
    let servers = Servers::new();
    let row = "[seed]\nnpy = \"asyncio json\"\n";
    servers.add("limited", "right", "{port}", &format!("{row}[limits]\nin_flight_max = 1"));
    let output = servers.ladder(&["--preset", "seed"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let trial = &servers.trials()[0];
    assert_eq!((trial.connections, trial.in_flight, trial.in_flight_wanted), (1, 1, Some(2)));
    let printed = text(&output);
    let row = printed.lines().find(|line| line.starts_with("asyncio json ")).expect("its row");
    assert!(row.ends_with("ms/request (1 in flight)"), "{row}");
}

#[test]
fn the_cpu_of_threads_and_children_counts_for_the_server() {
    if is_missing("python3") {
        return;
    }
    let servers = Servers::new();
    servers.add("forks", "forks", "{port}", "");
    servers.add("threads", "threads", "{port}", "");
    let output = servers.ladder(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for name in ["forks", "threads"] {
        let Outcome::Measured(measured) = servers.outcome(name) else {
            panic!("{}", text(&output))
        };
        let cpu = measured.server_cpu.expect("the ladder asked for it").total_ns;
        // The fixture works 2 ms for each request.
        assert!(cpu > measured.requests * 1_800_000, "{name}: {cpu} ns, {}", measured.requests);
    }
}

/// Processes that `pid` has started.
fn children<P: std::fmt::Display>(pid: P) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    text.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_server_ends_when_the_ladder_is_killed() {
    if is_missing("python3") {
        return;
    }
    let servers = Servers::new();
    servers.add("right", "right", "{port}", "");
    let mut ladder = servers.long_ladder();
    let mut started = Vec::new();
    wait_for("a server under load, and the shell that watches the groups", || {
        started = children(ladder.id());
        started.len() == 3
    });
    ladder.kill().expect("it runs");
    ladder.wait().expect("it is ours");
    started.into_iter().for_each(assert_ends);
}

#[test]
fn what_a_server_has_started_ends_when_the_ladder_is_killed() {
    if is_missing("python3") {
        return;
    }
    let servers = Servers::new();
    servers.add("right", "right", "{port}", "");
    let manifest = servers.home.path().join("servers/right/manifest.toml");
    let text = std::fs::read_to_string(&manifest).expect("just written");
    let (before, rest) = text.split_once("[\"python3\"").expect("its command");
    let (_, after) = rest.split_once(']').expect("the end of the command");
    let script = format!("sleep 600 & exec python3 {SERVER} right {{port}}");
    let text = format!("{before}[\"sh\", \"-c\", \"{script}\"]{after}");
    std::fs::write(&manifest, text).expect("it can be written");
    let mut ladder = servers.long_ladder();
    let mut grandchildren = Vec::new();
    wait_for("a server with a child of its own", || {
        grandchildren = children(ladder.id()).into_iter().flat_map(children).collect();
        grandchildren.len() == 1
    });
    ladder.kill().expect("it runs");
    ladder.wait().expect("it is ours");
    grandchildren.into_iter().for_each(assert_ends);
}

fn assert_ends(pid: i32) {
    wait_for("its end", || kill(Pid::from_raw(pid), None).is_err());
}

#[test]
fn an_invalid_manifest_is_wrong_usage_and_is_named() {
    let servers = Servers::new();
    servers.add("right", "right", "{port}", "colour = \"red\"");
    let output = servers.ladder(&[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("right/manifest.toml") && text(&output).contains("colour"));
}

#[test]
fn the_list_has_state_limits_and_rows_of_each_server() {
    let servers = Servers::new();
    servers.add("here", "right", "{port}", "[seed]\nnpy = \"grpc\"\n[limits]\nin_flight_max = 7");
    servers.add("needy", "right", "{port}", "[setup]\nneeds = [\"no-such-program\"]");
    let folder = servers.home.path().join("servers");
    let output =
        Command::new(NDECHO).args(["rungs", "--external", "--external-dir"]).arg(folder).output();
    let output = output.expect("the binary is built");
    let printed = text(&output);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    for line in
        ["external/here  installed", "external/needy  needs no-such-program", "7 in flight", "npy"]
    {
        assert!(printed.contains(line), "no {line:?} in {printed}");
    }
}

#[test]
fn old_names_of_flags_and_rungs_are_read_and_reported() {
    let servers = Servers::new();
    servers.add("here", "right", "{port}", "");
    let output = servers.ladder(&["--rungs", "peer/here/*", "--list"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("reading external/here/*"), "{}", text(&output));
    assert!(text(&output).contains("external/here/npy"), "{}", text(&output));
}
