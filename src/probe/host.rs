//! The fingerprint of a run: what of the machine and of this build decides its figures.
//!
//! Nothing here fails: what the machine does not say is left empty in the record. Reads `/proc` and `/sys`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::record::{Build, Disturbance, Host};

use crate::sys::affinity;

/// Settings recorded, by their path below `/proc/sys`.
const SYSCTLS: &[&str] = &[
    "net/core/somaxconn",
    "net/core/rmem_max",
    "net/core/wmem_max",
    "net/core/netdev_max_backlog",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_wmem",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_slow_start_after_idle",
    "kernel/io_uring_disabled",
    "kernel/perf_event_paranoid",
    "kernel/numa_balancing",
];

/// Crates whose version can move a figure.
const CRATES: &[&str] = &[
    "axum",
    "base64",
    "h2",
    "hyper",
    "hyper-util",
    "io-uring",
    "prost",
    "rmp-serde",
    "serde_json",
    "tokio",
    "tokio-uring",
    "tonic",
];

/// The machine; the governor is that of `core`.
pub fn host(core: usize) -> Host {
    let cpuinfo = read("/proc/cpuinfo");
    Host {
        kernel: format!(
            "{} {}",
            read("/proc/sys/kernel/osrelease"),
            read("/proc/sys/kernel/version")
        ),
        kernel_command_line: read("/proc/cmdline"),
        cpu_model: field(&cpuinfo, "model name").unwrap_or_default(),
        virtual_machine: field(&cpuinfo, "flags")
            .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        cores: affinity::cores().into_iter().map(|core| core as u32).collect(),
        memory_bytes: memory_bytes(&read("/proc/meminfo")),
        mitigations: mitigations(),
        clocksource: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        governor: read(format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor")),
        sysctl: SYSCTLS
            .iter()
            .map(|name| ((*name).to_owned(), read(Path::new("/proc/sys").join(name))))
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        loopback_mtu: read("/sys/class/net/lo/mtu").parse().unwrap_or_default(),
    }
}

/// This build.
pub fn build() -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rustc: std::env::current_exe()
            .and_then(fs::read)
            .map(|binary| compiler(&binary))
            .unwrap_or_default(),
        profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        settings: section(include_str!("../../Cargo.toml"), "[profile.release]"),
        allocator: allocator(),
        crates: versions(include_str!("../../Cargo.lock")),
        commit: commit(),
    }
}

/// A reading of the kernel's accounts of who had the processors.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    at: Instant,
    waited_us: u64,
    ticks: Ticks,
}

/// The kernel's counts for all cores together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    stolen: u64,
}

impl Account {
    /// Reads them now; `None` where the kernel keeps no account of waiting (`psi=0`).
    pub fn open() -> Option<Account> {
        Some(Account {
            at: Instant::now(),
            waited_us: waited_us(&read("/proc/pressure/cpu"))?,
            ticks: Ticks::parse(&read("/proc/stat")),
        })
    }

    /// What happened since.
    pub fn close(self) -> Option<Disturbance> {
        let now = Account::open()?;
        let tick_ns = 1_000_000_000 / procfs::ticks_per_second();
        Some(Disturbance {
            wall_ns: (now.at - self.at).as_nanos() as u64,
            waited_ns: now.waited_us.saturating_sub(self.waited_us) * 1000,
            stolen_ns: now.ticks.stolen.saturating_sub(self.ticks.stolen) * tick_ns,
            busy_ns: now.ticks.busy.saturating_sub(self.ticks.busy) * tick_ns,
        })
    }
}

/// The total of the `some` line.
fn waited_us(pressure: &str) -> Option<u64> {
    let some = pressure.lines().find(|line| line.starts_with("some "))?;
    some.split(' ').find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

impl Ticks {
    /// The line for all cores: user, nice, system, idle, waiting for a disk, interrupts, soft interrupts, stolen; what
    /// follows is part of the first two.
    fn parse(stat: &str) -> Ticks {
        let all = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
        let counts: Vec<u64> =
            all.split_whitespace().map_while(|count| count.parse().ok()).take(8).collect();
        let [user, nice, system, _idle, _disk, interrupts, soft, stolen] = counts[..] else {
            return Ticks::default();
        };
        Ticks { busy: user + nice + system + interrupts + soft, stolen }
    }
}

/// A file's text without the line end; empty when it cannot be read.
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The value of the first `name : value` line.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

fn memory_bytes(meminfo: &str) -> u64 {
    field(meminfo, "MemTotal")
        .and_then(|value| value.trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

fn mitigations() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(entry.path())))
        .collect()
}

/// rustc signs what it compiles, in the `.comment` section and in debug information: `rustc version 1.95.0 (...)`.
fn compiler(binary: &[u8]) -> String {
    let mark = b"rustc version ";
    memchr::memmem::find_iter(binary, mark)
        .map(|at| &binary[at + mark.len()..])
        .filter(|rest| rest.first().is_some_and(u8::is_ascii_digit))
        .filter_map(|rest| rest.split_inclusive(|byte| *byte == b')').next())
        .find_map(|text| std::str::from_utf8(text).ok())
        .unwrap_or_default()
        .to_owned()
}

/// Who hands out memory: nothing here names another, so it is the C library that the program runs with.
fn allocator() -> String {
    let maps = read("/proc/self/maps");
    let library = maps.split_whitespace().find(|word| word.contains("/libc.so"));
    let version = library.and_then(|path| libc_version(&fs::read(path).ok()?));
    version
        .map_or_else(|| "the C library's malloc".to_owned(), |it| format!("malloc of glibc {it}"))
}

/// glibc says in its own text what it is: `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.`
fn libc_version(library: &[u8]) -> Option<String> {
    let at = memchr::memmem::find(library, b"GNU C Library")?;
    let line = library[at..].split(|byte| *byte == b'\n').next()?;
    let (_, version) = std::str::from_utf8(line).ok()?.rsplit_once("release version ")?;
    Some(version.trim_end_matches('.').to_owned())
}

/// The lines of a TOML section as one line.
fn section(toml: &str, head: &str) -> String {
    let lines = toml.lines().skip_while(|line| line.trim() != head).skip(1);
    let body: Vec<&str> =
        lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty()).collect();
    body.join(", ")
}

/// Versions of [`CRATES`] in a lock file; where a name is there twice, the later one.
fn versions(lock: &str) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let value = |line: &str, key: &str| {
        line.strip_prefix(key).map(|rest| rest.trim_matches(|c| c == '"' || c == ' ').to_owned())
    };
    let mut name = String::new();
    for line in lock.lines() {
        if let Some(found) = value(line, "name =") {
            name = found;
        } else if let Some(version) = value(line, "version =")
            && CRATES.contains(&name.as_str())
        {
            versions.insert(name.clone(), version);
        }
    }
    versions
}

/// Asks git about the folder the binary lies in.
fn commit() -> Option<String> {
    let exe = std::env::current_exe().ok()?;
    let output = Command::new("git")
        .arg("-C")
        .arg(exe.parent()?)
        .args(["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_it_is() {
        let host = host(0);
        assert!(!host.kernel.trim().is_empty());
        assert!(!host.cores.is_empty());
        assert!(host.memory_bytes > 0);
    }

    #[test]
    fn the_build_knows_its_compiler_and_its_stacks() {
        let build = build();
        assert!(build.rustc.starts_with("1."), "{:?}", build.rustc);
        assert!(build.settings.contains("lto"), "{:?}", build.settings);
        for name in CRATES {
            assert!(build.crates.contains_key(*name), "{name} is not in the lock file");
        }
    }

    #[test]
    fn waiting_and_stealing_are_read_from_their_columns() {
        let pressure = "some avg10=1.00 avg60=0.50 avg300=0.10 total=1234\nfull avg10=0 total=9\n";
        assert_eq!(waited_us(pressure), Some(1234));
        assert_eq!(waited_us(""), None);
        let ticks = Ticks { busy: 1 + 2 + 3 + 6 + 7, stolen: 8 };
        assert_eq!(Ticks::parse("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n"), ticks);
        assert_eq!(Ticks::parse(""), Ticks::default());
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t: 17\nmodel name\t: EPYC: 4\n";
        assert_eq!(field(text, "model name").as_deref(), Some("EPYC: 4"));
        assert_eq!(field(text, "name"), None);
        assert_eq!(memory_bytes("MemTotal:       2048 kB\n"), 2 * 1024 * 1024);
    }

    #[test]
    fn the_compiler_is_read_from_its_signature_only() {
        assert_eq!(compiler(b"\0rustc version \0GCC\0rustc version 1.95.0 (x)\0"), "1.95.0 (x)");
        assert_eq!(compiler(b"rustc version"), "");
    }

    #[test]
    fn the_allocator_is_named() {
        assert!(allocator().contains("malloc"), "{}", allocator());
        let text = b"\0GNU C Library (X GLIBC 2.36-9+x) stable release version 2.36.\nCopyright";
        assert_eq!(libc_version(text).as_deref(), Some("2.36"));
        assert_eq!(libc_version(b"musl"), None);
    }

    #[test]
    fn a_section_ends_where_the_next_begins() {
        assert_eq!(section("[a]\nx = 1\n\ny = 2\n[b]\nz = 3\n", "[a]"), "x = 1, y = 2");
        assert_eq!(section("[a]\nx = 1\n", "[c]"), "");
    }
}
