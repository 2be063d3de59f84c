//! Tests of the files of a recording: the recording itself, and the programs that it names.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use linux_perf_data::linux_perf_event_reader::EventRecord;
use linux_perf_data::{PerfFileReader, PerfFileRecord};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::super::classify::{Frame, Place};
use super::super::modules::Module;
use super::super::perf_file::{Identity, Mapping, Recording};
use super::super::perf_record::PerfRecord;
use super::super::program_file;
use super::super::sampler::{PERIOD_NS, Sampler};
use super::super::sampling::RecorderError;
use super::super::{FILE_BYTES_MAX, Profile};
use crate::sys::affinity;

fn mapping(path: &Path, identity: Identity) -> Mapping {
    let pid = std::process::id();
    Mapping { pid, path: path.to_owned(), identity, start: 0x1000, end: 0x9000, file_offset: 0 }
}

/// Process that ends together with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the executable mapping of the program itself.
fn own_mapping(pid: u32) -> Option<Mapping> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let line = maps.lines().find(|line| {
        line.contains(" r-xp ") && line.ends_with(program.to_string_lossy().as_ref())
    })?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (start, end) = words[0].split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(Mapping {
        pid,
        path: PathBuf::from(line[line.find('/')?..].to_owned()),
        identity: Identity::Inode(words[4].parse().ok()?),
        start: hex(start)?,
        end: hex(end)?,
        file_offset: hex(words[2])?,
    })
}

/// Tries `get` until it returns something, for a time that is too long for any machine.
fn until_some<T>(get: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = get() {
            return value;
        }
        assert!(Instant::now() < end, "nothing within 20 seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_fifo_at_the_path_of_a_program_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("program");
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let (module, unwinding) = Module::open(&mapping(&fifo, Identity::Unknown));
    assert!(unwinding.is_none());
    let frames = module.frames(0x2000);
    assert!(frames.len() == 1 && frames[0].function.is_empty(), "{frames:?}");
}

#[test]
fn another_file_at_the_path_is_not_taken_for_the_mapped_one() {
    let program = std::env::current_exe().unwrap();
    let of = |identity| program_file::find(&mapping(&program, identity)).is_some();
    let own = own_mapping(std::process::id()).unwrap();
    assert!(program_file::find(&own).is_some() && of(own.identity.clone()));
    let Identity::Inode(inode) = own.identity else { panic!("{:?}", own.identity) };
    assert!(!of(Identity::Inode(inode + 1)));
    assert!(!of(Identity::BuildId(vec![7; 20])));
}

#[test]
fn a_program_that_was_deleted_and_replaced_is_found_through_its_mapping() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("sleeper");
    std::fs::copy("/bin/sleep", &program).unwrap();
    // A child that another test forks meanwhile may hold the file open for a moment.
    let start = || Command::new(&program).arg("60").stdout(Stdio::null()).spawn().ok();
    let sleeper = Running(until_some(start));
    // The child is not mapped yet when spawn returns.
    let before = until_some(|| own_mapping(sleeper.0.id()));
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, "another program").unwrap();
    let after = own_mapping(sleeper.0.id()).unwrap();
    assert!(after.path.to_string_lossy().ends_with("sleeper (deleted)"), "{after:?}");
    let map_file = format!("/proc/{}/map_files/{:x}-{:x}", after.pid, after.start, after.end);
    let may_open = std::fs::File::open(map_file).is_ok();
    for mapping in [before, after] {
        // Without the privilege nothing is found, rather than another program.
        assert_eq!(program_file::find(&mapping).is_some(), may_open, "{mapping:?}");
    }
}

#[test]
fn the_running_program_is_own_whatever_its_name() {
    let own = own_mapping(std::process::id()).unwrap();
    let name = own.path.file_name().unwrap().to_string_lossy();
    assert!(!["ndecho", "uring-server", "tonic-server"].contains(&&*name), "{name}");
    let here = until_some as fn(fn() -> Option<()>) as usize as u64;
    let (module, _) = Module::open(&own);
    let frames = module.frames(here);
    let is_own =
        |frame: &Frame| matches!(&frame.place, Place::Source { name, .. } if name == "ndecho");
    assert!(frames.iter().any(is_own), "{frames:?}");
}

#[test]
fn a_program_is_read_once_for_all_profiles() {
    let own = own_mapping(std::process::id()).unwrap();
    let first = program_file::find(&own).unwrap();
    let moved = Mapping { start: own.start + 0x10_0000, end: own.end + 0x10_0000, ..own.clone() };
    assert!(Rc::ptr_eq(&first, &program_file::find(&moved).unwrap()));
    assert_ne!(first.bias(own.start, own.file_offset), first.bias(moved.start, moved.file_offset));
    assert!(Rc::ptr_eq(&program_file::kernel_symbols(), &program_file::kernel_symbols()));
}

/// Threads of this process that the calling thread has started, which share its name.
fn own_threads() -> usize {
    let name = |path: PathBuf| std::fs::read_to_string(path.join("comm")).ok();
    let own = name("/proc/thread-self".into());
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads.flatten().filter(|thread| name(thread.path()) == own).count()
}

#[test]
fn a_perf_that_does_not_start_leaves_neither_a_thread_nor_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.perf");
    // Other tests of this room have threads of the same name otherwise.
    std::fs::write("/proc/thread-self/comm", "no-leak").unwrap();
    let before = own_threads();
    let launcher = Command::new("false");
    let error = PerfRecord::start(launcher, std::process::id(), &file, FILE_BYTES_MAX).unwrap_err();
    assert!(matches!(error, RecorderError::Ended { .. }), "{error}");
    assert_eq!(own_threads(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Uses CPU time until `is_enough`.
fn spin_until(is_enough: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_enough() {
        assert!(Instant::now() < end, "no samples arrive");
        std::hint::black_box((0..10_000_u64).sum::<u64>());
    }
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// Skips on a machine that does not allow samples; with `CI` set, fails instead.
fn skipped(why: &dyn std::fmt::Display) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("skipped: {why}");
}

#[test]
fn a_comma_in_the_folder_does_not_confuse_perf() {
    let folder = tempfile::tempdir().unwrap();
    let comma = folder.path().join("a,b, c");
    std::fs::create_dir(&comma).unwrap();
    let file = comma.join("server.perf");
    let launcher = || Command::new("env");
    match PerfRecord::start(launcher(), std::process::id(), &file, FILE_BYTES_MAX) {
        Ok(perf) => assert!(!perf.stop().unwrap()),
        Err(error) => return skipped(&error),
    }
    Recording::read(&file).unwrap();
    // At its limit perf ends by itself.
    let perf = PerfRecord::start(launcher(), std::process::id(), &file, 1 << 20).unwrap();
    spin_until(|| length(&file) >= 1 << 20);
    assert!(perf.stop().unwrap());
}

/// Returns the time between the samples of thread `tid`, in ns.
fn gaps(file: &Path, tid: i32) -> Vec<u64> {
    let file = std::io::BufReader::new(std::fs::File::open(file).unwrap());
    let mut reader = PerfFileReader::parse_file(file).unwrap();
    let mut times = Vec::new();
    while let Some(record) = reader.record_iter.next_record(&mut reader.perf_file).unwrap() {
        let PerfFileRecord::EventRecord { record, .. } = record else { continue };
        if let EventRecord::Sample(sample) = record.parse().unwrap() {
            times.extend(sample.timestamp.filter(|_| sample.tid == Some(tid)));
        }
    }
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn events_of_our_own_record_samples_and_mapped_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.perf");
    let core = affinity::cores()[0];
    let start = |bytes_max| Sampler::start(std::process::id(), core, &file, bytes_max);
    let sampler = match start(FILE_BYTES_MAX) {
        Ok(sampler) => sampler,
        Err(error) => return skipped(&error),
    };
    spin_until(|| length(&file) > 1 << 20);
    assert!(!sampler.stop().unwrap());
    let recording = Recording::read(&file).unwrap();
    assert!(recording.samples.len() > 100, "{}", recording.samples.len());
    let program = own_mapping(std::process::id()).unwrap();
    assert!(recording.mappings.contains(&program), "{program:?}\n{:?}", recording.mappings);
    let profile = Profile::read(&file).unwrap();
    assert_eq!(profile.samples, recording.samples.len() as u64);
    let named: u64 = profile.unknown.iter().map(|it| it.samples).sum::<u64>();
    assert!(named < profile.samples || !profile.unknown.is_empty());

    let sampler = start(1 << 20).unwrap();
    spin_until(|| length(&file) >= 1 << 20);
    assert!(sampler.stop().unwrap(), "the limit was reached");
    let recording = Recording::read(&file).unwrap();
    assert!(recording.samples.len() > 100, "what was written before counts");
}

/// Shell that spins until its end.
struct Spinning(Child);

impl Drop for Spinning {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server may work in a rhythm, and a fixed period would meet the same part of it each time.
#[test]
fn the_time_between_two_samples_varies() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.perf");
    let spinning = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let spinning = Spinning(spinning);
    let pid = spinning.0.id();
    let sampler = match Sampler::start(pid, affinity::cores()[0], &file, FILE_BYTES_MAX) {
        Ok(sampler) => sampler,
        Err(error) => return skipped(&error),
    };
    spin_until(|| length(&file) > 1 << 20);
    assert!(!sampler.stop().unwrap());
    // With a fixed period no gap is shorter than it.
    let gaps = gaps(&file, pid as i32);
    let short = gaps.iter().filter(|gap| **gap < PERIOD_NS * 9 / 10).count();
    assert!(short > gaps.len() / 10, "{short} of {} gaps are short: {gaps:?}", gaps.len());
}

/// Function into which no other one is inlined.
#[inline(never)]
extern "C" fn leaf(number: u64) -> u64 {
    number ^ 5
}

#[test]
fn a_function_without_inlined_ones_has_its_source_file() {
    let (module, _) = Module::open(&own_mapping(std::process::id()).unwrap());
    let frames = module.frames(leaf as *const () as u64);
    let is_leaf = |frame: &Frame| {
        let file = "src/probe/profile/tests/files.rs";
        let is_here = matches!(&frame.place, Place::Source { path, .. } if path == file);
        is_here && frame.function == "leaf"
    };
    assert!(frames.iter().any(is_leaf), "{frames:?}");
    assert_eq!(leaf(3), 6);
}
