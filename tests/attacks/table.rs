//! Rows, their results, and the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::bystander::{Bystander, Served};
use crate::server::{Kind, Running, Speaks};

/// Length of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Short,
    Full,
}

impl Size {
    /// Returns `full`, or a twentieth of it.
    pub(crate) fn scaled(self, full: usize) -> usize {
        match self {
            Size::Short => (full / 20).max(1),
            Size::Full => full,
        }
    }
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) speaks: Speaks,
    /// Does the attack, and returns the answer of the server.
    pub(crate) attack: fn(&Running, Size) -> String,
    /// Answers that an own server may give; none means any.
    pub(crate) answers: &'static [&'static str],
    /// Counters, one of which an own server moves; none means any.
    pub(crate) counters: &'static [&'static str],
    /// Memory beyond the base that the attack may cost, at full length.
    pub(crate) memory_mib: u64,
    /// Slowest answer to the bystander.
    pub(crate) bound: Duration,
    pub(crate) descriptors: Option<u32>,
    /// True if `h2-crate` has to answer and to count like an own server.
    pub(crate) is_for_borrowed: bool,
    /// True for an attack by honest work, which a server with short timeouts might cut off.
    pub(crate) is_patient: bool,
}

const SECOND: Duration = Duration::from_secs(1);

impl Row {
    pub(crate) const fn new(
        name: &'static str,
        speaks: Speaks,
        attack: fn(&Running, Size) -> String,
    ) -> Row {
        let (answers, counters, descriptors): (&[&str], &[&str], _) = (&[], &[], None);
        Row {
            name,
            speaks,
            attack,
            answers,
            counters,
            memory_mib: 32,
            bound: SECOND,
            descriptors,
            is_for_borrowed: false,
            is_patient: false,
        }
    }

    pub(crate) const fn for_borrowed(self) -> Row {
        Row { is_for_borrowed: true, ..self }
    }

    pub(crate) const fn answered(self, answers: &'static [&'static str]) -> Row {
        Row { answers, ..self }
    }

    pub(crate) const fn counted(self, counters: &'static [&'static str]) -> Row {
        Row { counters, ..self }
    }

    pub(crate) const fn holding(self, memory_mib: u64) -> Row {
        Row { memory_mib, ..self }
    }

    pub(crate) const fn within(self, bound: Duration) -> Row {
        Row { bound, ..self }
    }

    pub(crate) const fn patient(self) -> Row {
        Row { is_patient: true, ..self }
    }

    pub(crate) const fn with_descriptors(self, count: u32) -> Row {
        Row { descriptors: Some(count), ..self }
    }
}

#[derive(Debug)]
pub(crate) struct Outcome {
    row: &'static str,
    server: &'static str,
    is_reference: bool,
    bound: Duration,
    answer: String,
    served: Result<Served, String>,
    memory_mib: u64,
    counters: Vec<String>,
    /// Promises that were broken, but for that to the bystander.
    broken: Vec<String>,
}

/// Runs one attack on a server of its own. `None` if the machine has no ring for it.
pub(crate) fn run(row: &Row, kind: &Kind, size: Size) -> Option<Outcome> {
    let server = kind.start(row)?;
    let bystander = Bystander::start(server.address, server.speaks);
    let base = server.rss_peak_bytes();
    let before = server.counts();
    let answer = (row.attack)(&server, size);
    let served = bystander.stop();
    let memory_mib = (server.rss_peak_bytes() - base) >> 20;
    let counters = moved(&before, &server.counts());
    let mut broken = Vec::new();
    if memory_mib > row.memory_mib {
        broken.push(format!("it held {memory_mib} MiB, expected at most {}", row.memory_mib));
    }
    let is_judged = kind.is_own || row.is_for_borrowed && !kind.is_reference();
    let is_answer = |known: &&str| answer.starts_with(*known);
    if is_judged && !row.answers.is_empty() && !row.answers.iter().any(is_answer) {
        broken.push(format!("it answered {answer:?}, expected one of {:?}", row.answers));
    }
    let is_counter = |known: &&str| counters.iter().any(|moved| moved.starts_with(*known));
    if is_judged && !row.counters.is_empty() && !row.counters.iter().any(is_counter) {
        broken.push(format!("none of {:?} moved: {counters:?}", row.counters));
    }
    Some(Outcome {
        row: row.name,
        server: kind.name,
        is_reference: kind.is_reference(),
        bound: row.bound,
        answer,
        served,
        memory_mib,
        counters,
        broken,
    })
}

fn moved(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<String> {
    let moved = after.iter().filter_map(|(name, count)| {
        let more = count - before.get(name).unwrap_or(&0);
        (more > 0).then(|| format!("{name} {more}"))
    });
    moved.collect()
}

impl Outcome {
    /// Returns the promises that were broken, where `bound` holds for the bystander.
    pub(crate) fn faults(&self, bound: Duration) -> Vec<String> {
        let mut faults = self.broken.clone();
        match &self.served {
            Err(why) => faults.push(format!("the bystander lost a request: {why}")),
            Ok(served) if served.slowest > bound => {
                faults.push(format!("the bystander waited {:?}", served.slowest));
            }
            Ok(_) => {}
        }
        faults
    }

    pub(crate) fn is_fault_of_ours(&self) -> bool {
        !self.is_reference && !self.faults(self.bound).is_empty()
    }

    fn line(&self) -> String {
        let slowest = match &self.served {
            Ok(served) => format!("{} ms", served.slowest.as_millis()),
            Err(_) => "lost".to_owned(),
        };
        let verdict = if self.faults(self.bound).is_empty() { "" } else { "**fault:** " };
        let counters = self.counters.join(", ");
        let (row, server, answer, memory) = (self.row, self.server, &self.answer, self.memory_mib);
        format!("| {row} | {server} | {verdict}{answer} | {memory} MiB | {slowest} | {counters} |")
    }
}

const BEGIN: &str = "<!-- attacks: begin -->\n";
const END: &str = "<!-- attacks: end -->\n";

/// Replaces the table in `docs/RELIABILITY.md`.
pub(crate) fn write(results: &[Outcome]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/RELIABILITY.md");
    let text = std::fs::read_to_string(&path).expect("it is in the tree");
    let (before, rest) = text.split_once(BEGIN).expect("a place for the table");
    let (_, after) = rest.split_once(END).expect("its end");
    let mut table = facts();
    table.push_str("\n| attack | server | answer | memory | slowest answer | counters |\n");
    table.push_str("|---|---|---|---|---|---|\n");
    for result in results {
        let _ = writeln!(table, "{}", result.line());
    }
    print!("{table}");
    std::fs::write(&path, [before, BEGIN, &table, END, after].concat()).expect("a writable tree");
}

fn facts() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model =
        model.map_or("unknown processor", |model| model.trim_start_matches(['\t', ':', ' ']));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    let now = std::time::SystemTime::now();
    let day = humantime::format_rfc3339_seconds(now).to_string();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "Made on {} by a {build} build on {cores} cores of {model}, Linux {}.\n",
        &day[..10],
        kernel.trim()
    )
}
