//! Samples of a process without `perf`: events of the kernel, and a thread that writes them to a
//! file in perf's format. The events are those of `perf record`, so everything behind is the same.
//! But the time between two samples varies at random, by up to half of it. With a fixed period the
//! samples fall into step with a server that works in a rhythm, such as one batch of requests in
//! 660 µs, and meet some parts of each batch too often (docs/TRIED.md).
//!
//! ```text
//! file   [ header | attributes | mapped files | records, a mark after each round of reading ]
//! ```

use std::fs::File;
use std::io::{self, BufWriter, PipeReader, PipeWriter, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use procfs::process::{MMPermissions, MMapPath, MemoryMap};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use crate::probe::process_tree::{io_error, process};
use crate::sys::perf_events::{ATTRIBUTES_BYTES, Event, Ring};
use crate::sys::{affinity, descriptors};

use super::sampling::{FREQUENCY_HZ, stack_bytes};

/// Events are open for each thread on each core that it may use.
const EVENTS_MAX: usize = 4096;

/// Mean time between two samples.
pub(super) const PERIOD_NS: u64 = 1_000_000_000 / FREQUENCY_HZ as u64;

/// Pages of a ring: as many as an ordinary user may lock on each core
/// (`kernel.perf_event_mlock_kb`), and a tenth of a second of samples, or 15 ms of those of a
/// program in Python.
const RING_PAGES: usize = 128;

/// Samples after which the kernel wakes the thread that reads a ring.
const WAKE_AFTER: u32 = 16;

/// Bytes of a sample beside the stack of the program, about.
const SAMPLE_BYTES: u32 = 256;

/// Time between two readings of the rings if nobody wakes the thread.
const PAUSE_MS: u8 = 20;

/// Header of a file, up to the attributes.
const HEADER_BYTES: u64 = 104;

/// Attributes with the place of their numbers, of which there are none.
const ATTRIBUTES_ENTRY_BYTES: u64 = ATTRIBUTES_BYTES as u64 + 16;

const DATA_AT: u64 = HEADER_BYTES + ATTRIBUTES_ENTRY_BYTES;

/// Place in the header of the length of the records.
const DATA_LENGTH_AT: u64 = 48;

/// `PERF_RECORD_MMAP2`, and the mode of a record about the program (`PERF_RECORD_MISC_USER`).
const MMAP2: u32 = 10;
const MODE_USER: u16 = 2;

/// `PERF_RECORD_FINISHED_ROUND`: no later record is older than those before the mark before.
const FINISHED_ROUND: u32 = 68;

/// Bytes of thread, time and core at the end of a record that is no sample.
const RECORD_TAIL: [u8; 24] = [0; 24];

/// Sampling of a process. A drop ends it.
#[derive(Debug)]
pub(super) struct Sampler {
    /// End of a pipe. The thread ends when it is dropped.
    end: Option<PipeWriter>,
    /// Returns true if the file was full before the end.
    thread: Option<JoinHandle<io::Result<bool>>>,
}

impl Sampler {
    /// Samples process `pid` from now on into `file`, until that has `bytes_max`. The thread that
    /// writes it runs on `core`.
    pub(super) fn start(pid: u32, core: usize, file: &Path, bytes_max: u64) -> io::Result<Sampler> {
        let attributes = |is_user_only| attributes(is_user_only, stack_bytes(pid));
        let (events, attributes) = match events(pid, &attributes(false)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                (events(pid, &attributes(true))?, attributes(true))
            }
            events => (events?, attributes(false)),
        };
        let rings = rings(&events)?;
        let mut output = Output::create(file, &attributes)?;
        events.iter().try_for_each(|(_, event)| event.enable())?;
        // A file that is mapped meanwhile is listed twice, rather than not at all.
        for map in process(pid)?.maps().map_err(io_error)? {
            if map.perms.contains(MMPermissions::EXECUTE) {
                output.write(&mapping_record(pid, &map))?;
            }
        }
        let (over, end) = io::pipe()?;
        let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
        let thread = std::thread::Builder::new().name("samples".into()).spawn(move || {
            // On another core than the server's the writing disturbs nothing.
            let _ = affinity::pin(core);
            write_all(&events, rings, output, bytes_max, &over)
        })?;
        Ok(Sampler { end: Some(end), thread: Some(thread) })
    }

    /// Ends the sampling. Returns true if the file was full before.
    pub(super) fn stop(mut self) -> io::Result<bool> {
        self.end()
    }

    fn end(&mut self) -> io::Result<bool> {
        let Some(thread) = self.thread.take() else { return Ok(false) };
        self.end = None;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread of the samples panicked")))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Opens an event for each thread of process `pid` on each core that it may use, with the core.
fn events(pid: u32, attributes: &[u8; ATTRIBUTES_BYTES]) -> io::Result<Vec<(usize, Event)>> {
    let mut wanted: Vec<(u32, usize)> = Vec::new();
    for task in process(pid)?.tasks().map_err(io_error)?.flatten() {
        // A thread that ends meanwhile is none to sample.
        let Ok(status) = task.status() else { continue };
        let ranges = status.cpus_allowed_list.unwrap_or_default();
        let cores = ranges.into_iter().flat_map(|(first, last)| first..=last);
        wanted.extend(cores.map(|core| (task.tid as u32, core as usize)));
        if wanted.len() > EVENTS_MAX {
            return Err(io::Error::other(format!(
                "its threads and their cores need more than {EVENTS_MAX} events"
            )));
        }
    }
    // Beside the files that are open already.
    let _ = descriptors::raise_to(wanted.len() as u64 + 256);
    let mut events = Vec::new();
    for (tid, core) in wanted {
        match Event::open(attributes, tid, Some(core)) {
            Ok(event) => events.push((core, event)),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    if events.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(events) }
}

/// Returns whether the thread has ended, or the core is switched off.
fn is_gone(error: &io::Error) -> bool {
    [Some(libc::ESRCH), Some(libc::ENODEV)].contains(&error.raw_os_error())
}

/// Maps a ring for each core, to which all events of the core write.
fn rings(events: &[(usize, Event)]) -> io::Result<Vec<Ring>> {
    let mut rings = Vec::new();
    for (index, (core, event)) in events.iter().enumerate() {
        match events[..index].iter().find(|(other, _)| other == core) {
            Some((_, first)) => event.write_to_ring_of(first)?,
            None => rings.push(Ring::new(event, RING_PAGES)?),
        }
    }
    Ok(rings)
}

/// Writes the records of the rings until the other end of `over` is closed. Returns true if the
/// file was full before. It sleeps while the process does: others are measured then.
fn write_all(
    events: &[Event],
    mut rings: Vec<Ring>,
    mut output: Output,
    bytes_max: u64,
    over: &PipeReader,
) -> io::Result<bool> {
    let mut random = Pcg64::from_rng(&mut rand::rng());
    let mut sources: Vec<PollFd<'_>> = std::iter::once(over.as_fd())
        .chain(events.iter().map(AsFd::as_fd))
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    let mut timeout = PollTimeout::NONE;
    while output.bytes < bytes_max {
        for event in events {
            let _ = event.set_period(random.random_range(PERIOD_NS / 2..=PERIOD_NS * 3 / 2));
        }
        poll(&mut sources, timeout)?;
        if sources[0].any() == Some(true) {
            break;
        }
        let before = sources.len();
        sources.retain(|it| !it.revents().is_some_and(|it| it.contains(PollFlags::POLLHUP)));
        if sources.len() < before {
            // A thread has ended. Its event may own a ring to which others write.
            timeout = PollTimeout::from(PAUSE_MS);
        }
        output.round(&mut rings)?;
    }
    let is_full = output.bytes >= bytes_max;
    events.iter().try_for_each(Event::disable)?;
    output.round(&mut rings)?;
    output.finish()?;
    Ok(is_full)
}

/// File of a recording.
#[derive(Debug)]
struct Output {
    file: BufWriter<File>,
    /// Bytes of the records so far.
    bytes: u64,
}

impl Output {
    fn create(path: &Path, attributes: &[u8; ATTRIBUTES_BYTES]) -> io::Result<Output> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(b"PERFILE2")?;
        let sections = [(HEADER_BYTES, ATTRIBUTES_ENTRY_BYTES), (DATA_AT, 0), (0, 0)];
        let lengths = [HEADER_BYTES, ATTRIBUTES_ENTRY_BYTES];
        let words = lengths.into_iter().chain(sections.into_iter().flat_map(<[u64; 2]>::from));
        // No features.
        for word in words.chain([0; 4]) {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(attributes)?;
        file.write_all(&[0; 16])?;
        Ok(Output { file, bytes: 0 })
    }

    fn write(&mut self, records: &[u8]) -> io::Result<()> {
        self.bytes += records.len() as u64;
        self.file.write_all(records)
    }

    /// Writes what the rings have, and a mark.
    fn round(&mut self, rings: &mut [Ring]) -> io::Result<()> {
        for ring in rings {
            ring.drain(|records| self.write(records))?;
        }
        self.write(&record(FINISHED_ROUND, 0, &[]))
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(DATA_LENGTH_AT))?;
        self.file.write_all(&self.bytes.to_le_bytes())?;
        self.file.flush()
    }
}

/// Makes the attributes of the event: those of `perf record --event cpu-clock --call-graph dwarf`.
fn attributes(is_user_only: bool, stack_bytes: u32) -> [u8; ATTRIBUTES_BYTES] {
    const SOFTWARE: u64 = 1;
    const CPU_CLOCK: u64 = 0;
    /// Address, thread, time, call chain, core, period, registers and stack of the program.
    const SAMPLE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13;
    /// Starts disabled; new threads too; mappings, names, forks; wakes after some bytes; marks on
    /// all records; no walk of the program's stack; mappings with devices.
    const FLAGS: u64 =
        1 | 1 << 1 | 1 << 8 | 1 << 9 | 1 << 13 | 1 << 14 | 1 << 18 | 1 << 22 | 1 << 23;
    const WITHOUT_KERNEL: u64 = 1 << 5;
    /// `bp`, `sp` and `ip` of x86-64.
    const REGISTERS: u64 = 1 << 6 | 1 << 7 | 1 << 8;
    let mut attributes = [0; ATTRIBUTES_BYTES];
    let mut put = |at: usize, word: u64| {
        attributes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    };
    put(0, SOFTWARE | (ATTRIBUTES_BYTES as u64) << 32);
    put(8, CPU_CLOCK);
    put(16, PERIOD_NS);
    put(24, SAMPLE);
    put(40, FLAGS | if is_user_only { WITHOUT_KERNEL } else { 0 });
    put(48, u64::from(WAKE_AFTER * (stack_bytes + SAMPLE_BYTES)));
    put(80, REGISTERS);
    put(88, u64::from(stack_bytes));
    attributes
}

/// Makes the record of a file that was mapped before the sampling began.
fn mapping_record(pid: u32, map: &MemoryMap) -> Vec<u8> {
    let path = match &map.pathname {
        MMapPath::Path(path) => path.to_string_lossy().into_owned(),
        MMapPath::Vdso => "[vdso]".to_owned(),
        _ => "//anon".to_owned(),
    };
    let (start, end) = map.address;
    let mut body = Vec::new();
    [pid, pid].iter().for_each(|number| body.extend(number.to_le_bytes()));
    for word in [start, end.saturating_sub(start), map.offset] {
        body.extend(word.to_le_bytes());
    }
    [map.dev.0, map.dev.1].iter().for_each(|number| body.extend(number.to_le_bytes()));
    [map.inode, 0].iter().for_each(|word| body.extend(word.to_le_bytes()));
    const PROT_READ_AND_EXEC: u32 = 1 | 4;
    const MAP_PRIVATE: u32 = 2;
    [PROT_READ_AND_EXEC, MAP_PRIVATE].iter().for_each(|word| body.extend(word.to_le_bytes()));
    body.extend(path.bytes());
    // At least one zero ends the path.
    body.resize((body.len() + 1).next_multiple_of(8), 0);
    body.extend(RECORD_TAIL);
    record(MMAP2, MODE_USER, &body)
}

fn record(kind: u32, mode: u16, body: &[u8]) -> Vec<u8> {
    const HEAD_BYTES: usize = 8;
    // A path has at most 4096 bytes.
    let length = (HEAD_BYTES + body.len()) as u16;
    let mut record = Vec::with_capacity(HEAD_BYTES + body.len());
    record.extend(kind.to_le_bytes());
    record.extend(mode.to_le_bytes());
    record.extend(length.to_le_bytes());
    record.extend(body);
    record
}
