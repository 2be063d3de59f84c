use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::external;

/// Site of one server. A shell script starts the steps: a unit test lacks this crate's program.
struct Bench {
    home: tempfile::TempDir,
    site: Site,
}

impl Bench {
    fn new(steps: &str) -> Bench {
        let home = tempfile::tempdir().expect("a folder");
        let launcher = home.path().join("launcher");
        // exec --die-with PID -- COMMAND...
        std::fs::write(&launcher, "#!/bin/sh\nshift 4\nexec \"$@\"\n").expect("it can be written");
        std::fs::set_permissions(&launcher, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("it is ours");
        let search = std::env::split_paths(&std::env::var_os("PATH").expect("a shell's")).collect();
        let site = Site { program: launcher, folder: home.path().join("environments"), search };
        let bench = Bench { home, site };
        bench.write("lock", "1");
        bench.manifest(&format!("needs = [\"sh\"]\nfiles = [\"lock\"]\nsteps = {steps}"));
        bench
    }

    fn write(&self, name: &str, text: &str) {
        let folder = self.home.path().join("servers/some");
        std::fs::create_dir_all(&folder).expect("it is ours");
        std::fs::write(folder.join(name), text).expect("it can be written");
    }

    fn manifest(&self, setup: &str) {
        let rest = "name = \"some\"\nabout = \"\"\nlanguage = \"\"\nlicence = \"\"\nversion = \"\"\nprotocol = \"h1\"\n\
                    codecs = [\"json\"]\n[start]\ncommand = [\"x\"]\nready = \"{address}\"\n[setup]\n";
        self.write("manifest.toml", &format!("{rest}{setup}\n"));
    }

    fn server(&self) -> Arc<ExternalServer> {
        external::read(&self.home.path().join("servers"), &mut |line| panic!("{line}"))
            .expect("it is sound")
            .remove(0)
    }

    fn prepare(&self, told: &mut Vec<String>) -> Result<Environment, SetupError> {
        let stop = AtomicBool::new(false);
        prepare(&self.server(), &self.site, &stop, &mut |line| told.push(line.to_owned()))
    }

    fn state(&self) -> State {
        state(&self.server(), &self.site)
    }

    fn runs(&self) -> usize {
        let runs = self.home.path().join("servers/some/runs");
        std::fs::read_to_string(runs).unwrap_or_default().lines().count()
    }
}

const MAKE: &str =
    r#"[["sh", "-c", "echo x >> runs; sleep 0.1; echo $0 > {env}/it", "hello"], ["true"]]"#;

#[test]
fn an_environment_is_made_once_and_used_again() {
    let bench = Bench::new(MAKE);
    assert_eq!(bench.state(), State::NotMade);
    let mut told = Vec::new();
    let environment = bench.prepare(&mut told).expect("it can be made");
    assert_eq!(std::fs::read_to_string(environment.path.join("it")).expect("made"), "hello\n");
    assert!(told[0].contains("step 1 of 2: sh -c") && told[1].contains("step 2 of 2: true"));
    assert_eq!(bench.state(), State::Ready);
    told.clear();
    drop(bench.prepare(&mut told).expect("it is there"));
    assert_eq!((told.as_slice(), bench.runs()), ([].as_slice(), 1));
}

#[test]
fn a_changed_file_makes_it_again() {
    let bench = Bench::new(MAKE);
    drop(bench.prepare(&mut Vec::new()).expect("it can be made"));
    std::fs::write(bench.site.folder.join("some/old"), "").expect("it is ours");
    bench.write("lock", "2");
    assert_eq!(bench.state(), State::Stale);
    let environment = bench.prepare(&mut Vec::new()).expect("it can be made");
    assert!(!environment.path.join("old").exists());
    assert_eq!(bench.runs(), 2);
}

#[test]
fn an_interrupted_set_up_is_repeated() {
    let bench = Bench::new(r#"[["sh", "-c", "echo x >> runs; touch {env}/half; exec sleep 60"]]"#);
    let stop = AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        let server = bench.server();
        let (site, stop) = (&bench.site, &stop);
        let setup = scope.spawn(move || prepare(&server, site, stop, &mut |_| {}));
        while !bench.site.folder.join("some/half").exists() {
            std::thread::sleep(POLL_INTERVAL);
        }
        stop.store(true, Ordering::Relaxed);
        setup.join().expect("no panic").expect_err("it was interrupted")
    });
    assert!(matches!(error, SetupError::Interrupted), "{error}");
    assert_eq!(bench.state(), State::Stale);
    bench.manifest(&format!("needs = [\"sh\"]\nfiles = [\"lock\"]\nsteps = {MAKE}"));
    let environment = bench.prepare(&mut Vec::new()).expect("it can be made");
    assert!(!environment.path.join("half").exists());
}

#[test]
fn one_run_makes_it_and_the_others_wait() {
    let bench = Bench::new(MAKE);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| bench.prepare(&mut Vec::new()).expect("it can be made"));
        }
    });
    assert_eq!(bench.runs(), 1);
}

#[test]
fn an_environment_in_use_is_not_made_again() {
    let bench = Bench::new(MAKE);
    let in_use = bench.prepare(&mut Vec::new()).expect("it can be made");
    bench.write("lock", "2");
    let stop = AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        let server = bench.server();
        let (sender, told) = std::sync::mpsc::channel();
        let (site, stop) = (&bench.site, &stop);
        let tell = move |line: &str| sender.send(line.to_owned()).expect("the test listens");
        let mut tell = tell;
        let setup = scope.spawn(move || prepare(&server, site, stop, &mut tell));
        let line = told.recv_timeout(Duration::from_secs(10)).expect("it waits");
        assert!(line.starts_with("waiting for another run"), "{line}");
        stop.store(true, Ordering::Relaxed);
        setup.join().expect("no panic").expect_err("it was interrupted")
    });
    assert!(matches!(error, SetupError::Interrupted), "{error}");
    drop(in_use);
    bench.prepare(&mut Vec::new()).expect("nobody uses it");
    assert_eq!(bench.runs(), 2);
}

#[test]
fn a_step_that_fails_says_what_to_do_in_one_line() {
    let cases = [
        (
            r#"["sh", "-c", "echo ensurepip is not; echo available; exit 1"]"#,
            "apt install python3-venv",
        ),
        (
            r#"["sh", "-c", "echo /usr/bin/python3: No module named pip >&2; exit 1"]"#,
            "python3-pip",
        ),
        (
            r#"["sh", "-c", "echo ERROR: No matching distribution found for x >&2; exit 1"]"#,
            "the first run needs a network",
        ),
        (r#"["sh", "-c", "echo first; echo something else; exit 7"]"#, "something else"),
        (r#"["sh", "-c", "exit 7"]"#, "the step failed: exit status: 7"),
        (r#"["no-such-program"]"#, "no-such-program"),
    ];
    for (step, expected) in cases {
        let bench = Bench::new(&format!("[{step}]"));
        let error = bench.prepare(&mut Vec::new()).expect_err(step).to_string();
        assert!(error.contains(expected) && error.contains("some.log"), "{error}");
        let log = std::fs::read_to_string(bench.site.folder.join("some.log")).expect("a log");
        assert!(log.starts_with("$ "), "{log}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(bench.state(), State::Stale);
    }
}

#[test]
fn a_missing_program_or_file_is_named() {
    let bench = Bench::new(MAKE);
    bench.manifest("needs = [\"sh\", \"no-such-program\"]\nsteps = [[\"true\"]]");
    let error = bench.prepare(&mut Vec::new()).expect_err("it is not there").to_string();
    assert!(error.starts_with("needs no-such-program"), "{error}");
    assert_eq!(bench.state(), State::Missing(error));
    bench.manifest("files = [\"no-such-file\"]\nsteps = [[\"true\"]]");
    let error = bench.prepare(&mut Vec::new()).expect_err("it is not there").to_string();
    assert!(error.contains("no-such-file"), "{error}");
}

#[test]
fn without_steps_there_is_nothing_to_make() {
    let bench = Bench::new("[]");
    assert_eq!(bench.state(), State::Ready);
    bench.prepare(&mut Vec::new()).expect("nothing to make");
    assert!(!PathBuf::from(&bench.site.folder).exists());
}
