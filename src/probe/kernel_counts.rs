//! Counts that the kernel keeps of a running process: system calls by name, entries of io_uring,
//! context switches and page faults. Each is an event of perf_event_open(2) that is counted, not
//! sampled, so that the process hardly notices.
//!
//! System calls and entries are tracepoints, whose numbers stand in tracefs. Context switches and
//! page faults need none. What cannot be counted is missing, with the reason.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sys::descriptors;
use crate::sys::perf_events::{ATTRIBUTES_BYTES, Event};

use super::process_tree::threads;

/// Places of tracefs.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

const NO_TRACEFS: &str = "system calls and entries of io_uring have tracepoints, whose numbers stand \
                          in tracefs, which is not mounted or not readable for this user; as root: \
                          mount -t tracefs tracefs /sys/kernel/tracing";

/// Tracepoint of all system calls, and its name in a report.
const ALL_CALLS: (&str, &str) = ("raw_syscalls/sys_enter", SYSTEM_CALLS);

pub const SYSTEM_CALLS: &str = "system calls";
pub const CONTEXT_SWITCHES: &str = "context switches";
pub const PAGE_FAULTS: &str = "page faults";
pub const SUBMISSIONS: &str = "SQEs";
pub const COMPLETIONS: &str = "CQEs";

/// Number of a system call that newer processors do not have.
#[cfg(target_arch = "x86_64")]
const EPOLL_WAIT: libc::c_long = libc::SYS_epoll_wait;
#[cfg(not(target_arch = "x86_64"))]
const EPOLL_WAIT: libc::c_long = -1;

/// System calls that servers make, with their names. All others are in the sum only.
const CALLS: [(libc::c_long, &str); 20] = [
    (EPOLL_WAIT, "epoll_wait"),
    (libc::SYS_epoll_pwait, "epoll_pwait"),
    (libc::SYS_epoll_ctl, "epoll_ctl"),
    (libc::SYS_io_uring_enter, "io_uring_enter"),
    (libc::SYS_read, "read"),
    (libc::SYS_write, "write"),
    (libc::SYS_readv, "readv"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_munmap, "munmap"),
    (libc::SYS_mprotect, "mprotect"),
    (libc::SYS_mremap, "mremap"),
    (libc::SYS_madvise, "madvise"),
    (libc::SYS_brk, "brk"),
    (libc::SYS_futex, "futex"),
    (libc::SYS_clock_nanosleep, "clock_nanosleep"),
];

/// Tracepoints of io_uring. The first one has another name before Linux 5.18.
const RING: [(&str, &str); 3] = [
    ("io_uring/io_uring_submit_req", SUBMISSIONS),
    ("io_uring/io_uring_submit_sqe", SUBMISSIONS),
    ("io_uring/io_uring_complete", COMPLETIONS),
];

/// `PERF_TYPE_SOFTWARE` with the numbers of its events, and `PERF_TYPE_TRACEPOINT`.
const SOFTWARE: u32 = 1;
const SOFTWARE_EVENTS: [(u64, &str); 2] = [(2, PAGE_FAULTS), (3, CONTEXT_SWITCHES)];
const TRACEPOINT: u32 = 2;

/// Most events of a process, each of which is an open file.
const EVENTS_MAX: usize = 1024;

/// `inherit` of `perf_event_attr`: later threads are counted too.
const INHERIT: u64 = 1 << 1;

/// Counts since the start, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCounts {
    pub counts: BTreeMap<String, u64>,
    /// Reasons why some counts are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Open counters of a process and its descendants.
#[derive(Debug)]
pub struct KernelCounters {
    events: Vec<(&'static str, Event)>,
    missing: Vec<String>,
}

impl KernelCounters {
    /// Counts process `pid` from now on, as far as this machine and user can.
    pub fn open(pid: u32) -> io::Result<KernelCounters> {
        KernelCounters::open_in(pid, &TRACEFS)
    }

    fn open_in(pid: u32, places: &[&str]) -> io::Result<KernelCounters> {
        let threads: Vec<u32> = threads(pid)?.iter().map(|thread| thread.tid as u32).collect();
        // Without it, some events are missing.
        let _ = descriptors::raise();
        let mut counters = KernelCounters { events: Vec::new(), missing: Vec::new() };
        for (number, name) in SOFTWARE_EVENTS {
            counters.add(name, SOFTWARE, number, &threads);
        }
        let id =
            |tracepoint: &str| places.iter().find_map(|place| id(Path::new(place), tracepoint));
        let Some(all) = id(ALL_CALLS.0) else {
            counters.missing.push(NO_TRACEFS.to_owned());
            return Ok(counters);
        };
        counters.add(ALL_CALLS.1, TRACEPOINT, all, &threads);
        let calls = CALLS.map(|(_, name)| (format!("syscalls/sys_enter_{name}"), name));
        let ring = RING.map(|(tracepoint, name)| (tracepoint.to_owned(), name));
        for (tracepoint, name) in calls.into_iter().chain(ring) {
            // Another kernel may lack one.
            if let Some(id) = id(&tracepoint) {
                counters.add(name, TRACEPOINT, id, &threads);
            }
        }
        Ok(counters)
    }

    /// Opens an event for each thread. An event that the kernel refuses is missing.
    fn add(&mut self, name: &'static str, kind: u32, number: u64, threads: &[u32]) {
        if self.events.len() + threads.len() > EVENTS_MAX {
            self.missing.push(format!(
                "{name} cannot be counted: the process has {} threads, and at most {EVENTS_MAX} \
                 events are open",
                threads.len()
            ));
            return;
        }
        let attributes = attributes(kind, number);
        for tid in threads {
            match Event::open(&attributes, *tid, None) {
                Ok(event) => self.events.push((name, event)),
                // The thread has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => {
                    self.events.retain(|(other, _)| *other != name);
                    self.missing.push(format!(
                        "{name} cannot be counted: {error}; run as root, or set \
                         kernel.perf_event_paranoid to -1"
                    ));
                    return;
                }
            }
        }
    }

    pub fn read(&self) -> io::Result<KernelCounts> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (name, event) in &self.events {
            *counts.entry((*name).to_owned()).or_default() += event.count()?;
        }
        Ok(KernelCounts { counts, missing: self.missing.clone() })
    }
}

impl KernelCounts {
    /// Returns what was counted since `before`.
    pub fn since(&self, before: &KernelCounts) -> KernelCounts {
        let less = |(name, count): (&String, &u64)| {
            let before = before.counts.get(name).copied().unwrap_or(0);
            (name.clone(), count.saturating_sub(before))
        };
        KernelCounts { counts: self.counts.iter().map(less).collect(), ..self.clone() }
    }

    #[must_use]
    pub fn plus(mut self, other: &KernelCounts) -> KernelCounts {
        for (name, count) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
        for reason in &other.missing {
            if !self.missing.contains(reason) {
                self.missing.push(reason.clone());
            }
        }
        self
    }
}

/// Returns the names of the system calls that are counted by name.
pub fn system_call_names() -> impl Iterator<Item = &'static str> {
    CALLS.iter().map(|(_, name)| *name)
}

/// Returns the name of a system call that is counted by name.
pub(super) fn system_call_name(number: u64) -> Option<&'static str> {
    let number = libc::c_long::try_from(number).ok()?;
    CALLS.iter().find(|(of, _)| *of == number).map(|(_, name)| *name)
}

/// Reads the number of a tracepoint in the tracefs at `place`.
fn id(place: &Path, tracepoint: &str) -> Option<u64> {
    let path = place.join("events").join(tracepoint).join("id");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn attributes(kind: u32, number: u64) -> [u8; ATTRIBUTES_BYTES] {
    let mut attributes = [0; ATTRIBUTES_BYTES];
    let mut put = |at: usize, word: u64| {
        attributes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    };
    put(0, u64::from(kind) | (ATTRIBUTES_BYTES as u64) << 32);
    put(8, number);
    put(40, INHERIT);
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)], missing: &[&str]) -> KernelCounts {
        KernelCounts {
            counts: counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            missing: missing.iter().map(|reason| (*reason).to_owned()).collect(),
        }
    }

    #[test]
    fn page_faults_of_this_process_are_counted_without_tracefs() {
        let counters = KernelCounters::open_in(std::process::id(), &["/nowhere"]).unwrap();
        let before = counters.read().unwrap();
        assert!(before.missing.iter().any(|reason| reason.contains("mount -t tracefs")));
        let fill = || std::hint::black_box(vec![1_u8; 64 << 20]);
        drop(fill());
        let counted = counters.read().unwrap().since(&before);
        assert!(!counted.counts.contains_key(SYSTEM_CALLS));
        // A user without rights has a reason instead of a count.
        match counted.counts.get(PAGE_FAULTS) {
            Some(faults) => assert!(*faults >= 16, "huge pages at most: {faults}"),
            None => assert!(before.missing.iter().any(|it| it.starts_with(PAGE_FAULTS))),
        }
    }

    #[test]
    fn numbers_of_tracepoints_are_read_from_tracefs() {
        let folder = tempfile::tempdir().unwrap();
        let event = folder.path().join("events/raw_syscalls/sys_enter");
        fs::create_dir_all(&event).unwrap();
        fs::write(event.join("id"), "17\n").unwrap();
        assert_eq!(id(folder.path(), ALL_CALLS.0), Some(17));
        assert_eq!(id(folder.path(), "syscalls/sys_enter_read"), None);
    }

    #[test]
    fn a_tracepoint_that_the_kernel_does_not_know_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let event = folder.path().join("events").join(ALL_CALLS.0);
        fs::create_dir_all(&event).unwrap();
        fs::write(event.join("id"), u32::MAX.to_string()).unwrap();
        let place = folder.path().to_str().unwrap();
        let counters = KernelCounters::open_in(std::process::id(), &[place]).unwrap();
        let read = counters.read().unwrap();
        assert!(!read.counts.contains_key(SYSTEM_CALLS));
        assert!(read.missing.iter().any(|it| it.starts_with("system calls cannot be counted")));
    }

    #[test]
    fn a_process_of_many_threads_opens_no_more_events_than_the_limit() {
        let mut counters = KernelCounters { events: Vec::new(), missing: Vec::new() };
        let threads = vec![std::process::id(); EVENTS_MAX + 1];
        counters.add(PAGE_FAULTS, SOFTWARE, SOFTWARE_EVENTS[0].0, &threads);
        assert!(counters.events.is_empty());
        assert!(counters.missing[0].contains("has 1025 threads, and at most 1024"));
    }

    #[test]
    fn windows_are_differences_and_their_sums() {
        let window =
            counts(&[("read", 12), ("write", 5)], &["a"]).since(&counts(&[("read", 2)], &[]));
        assert_eq!(window, counts(&[("read", 10), ("write", 5)], &["a"]));
        let sum = window.plus(&counts(&[("read", 1), ("brk", 1)], &["a", "b"]));
        assert_eq!(sum, counts(&[("brk", 1), ("read", 11), ("write", 5)], &["a", "b"]));
    }
}
