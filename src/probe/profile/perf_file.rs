//! A recording of `perf record`: the samples of a process and the files that it had mapped.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use linux_perf_data::linux_perf_event_reader::{
    AttrFlags, EventRecord, Mmap2FileId, Mmap2Record, SampleRecord,
};
use linux_perf_data::{AttributeDescription, Error, PerfFileReader, PerfFileRecord};

/// Entries of a call chain from here on are marks, not addresses (`PERF_CONTEXT_MAX`).
const CONTEXT_MARKS: u64 = -4095_i64 as u64;

/// Mark in front of the program's part of a call chain (`PERF_CONTEXT_USER`).
const CONTEXT_USER: u64 = -512_i64 as u64;

/// Numbers of registers in a sample (`enum perf_event_x86_regs`).
const REGISTERS: Registers = Registers { bp: 6, sp: 7, ip: 8 };

struct Registers {
    bp: u64,
    sp: u64,
    ip: u64,
}

#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) samples: Vec<Sample>,
    pub(super) mappings: Vec<Mapping>,
    pub(super) lost: u64,
    /// True if this user may not sample the kernel.
    pub(super) is_user_only: bool,
}

/// Stack of one sample.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// Addresses in the kernel, the innermost first.
    pub(super) kernel: Vec<u64>,
    /// State of the program; `None` for a sample in the kernel, or if the kernel hid it.
    pub(super) user: Option<UserState>,
}

#[derive(Debug)]
pub(super) struct UserState {
    pub(super) ip: u64,
    pub(super) sp: u64,
    pub(super) bp: u64,
    /// Bytes from `sp` upwards.
    pub(super) stack: Vec<u8>,
}

/// Executable mapping of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Process that had it.
    pub(super) pid: u32,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Offset of `start` in the file.
    pub(super) file_offset: u64,
}

/// Identity of a mapped file, which another file at the same path does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    Inode(u64),
    BuildId(Vec<u8>),
    /// The code that the kernel maps has neither.
    Unknown,
}

impl Recording {
    pub(super) fn read(path: &Path) -> Result<Recording, Error> {
        const PROT_EXEC: u32 = 4;
        let reader = BufReader::new(File::open(path)?);
        let PerfFileReader { mut perf_file, mut record_iter } = PerfFileReader::parse_file(reader)?;
        let hides_kernel =
            |event: &AttributeDescription| event.attr.flags.contains(AttrFlags::EXCLUDE_KERNEL);
        let is_user_only = perf_file.event_attributes().iter().any(hides_kernel);
        let mut recording = Recording { is_user_only, ..Recording::default() };
        while let Some(record) = record_iter.next_record(&mut perf_file)? {
            let PerfFileRecord::EventRecord { record, .. } = record else { continue };
            match record.parse()? {
                EventRecord::Sample(sample) => recording.samples.push(Sample::new(&sample)),
                EventRecord::Lost(lost) => recording.lost += lost.count,
                EventRecord::Mmap2(map) if map.protection & PROT_EXEC != 0 => {
                    recording.mappings.push(Mapping::new(&map));
                }
                _ => {}
            }
        }
        Ok(recording)
    }
}

impl Mapping {
    fn new(map: &Mmap2Record<'_>) -> Mapping {
        let identity = match &map.file_id {
            Mmap2FileId::InodeAndVersion(file) if file.inode > 0 => Identity::Inode(file.inode),
            Mmap2FileId::BuildId(id) => Identity::BuildId(id.clone()),
            Mmap2FileId::InodeAndVersion(_) => Identity::Unknown,
        };
        Mapping {
            pid: map.pid.cast_unsigned(),
            path: String::from_utf8_lossy(&map.path.as_slice()).into_owned().into(),
            identity,
            start: map.address,
            end: map.address.saturating_add(map.length),
            file_offset: map.page_offset,
        }
    }
}

impl Sample {
    fn new(record: &SampleRecord<'_>) -> Sample {
        let mut kernel = Vec::new();
        if let Some(chain) = &record.callchain {
            let entries = (0..chain.len()).filter_map(|index| chain.get(index));
            let of_kernel = entries.take_while(|entry| *entry != CONTEXT_USER);
            kernel.extend(of_kernel.filter(|entry| *entry < CONTEXT_MARKS));
        }
        // The address of a kernel is in the upper half; a chain without marks holds others too.
        kernel.retain(|address| address >> 63 == 1);
        // Whoever called it, a sample in the kernel belongs to the kernel.
        let user = if kernel.is_empty() { UserState::new(record) } else { None };
        Sample { kernel, user }
    }
}

impl UserState {
    fn new(record: &SampleRecord<'_>) -> Option<UserState> {
        let registers = record.user_regs.as_ref()?;
        let (stack, size) = record.user_stack.as_ref().map_or((Vec::new(), 0), |(bytes, size)| {
            (bytes.as_slice().into_owned(), usize::try_from(*size).unwrap_or(usize::MAX))
        });
        let mut stack = stack;
        stack.truncate(size);
        Some(UserState {
            ip: registers.get(REGISTERS.ip)?,
            sp: registers.get(REGISTERS.sp)?,
            bp: registers.get(REGISTERS.bp)?,
            stack,
        })
    }

    /// Reads a word of the recorded stack.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.sp)?).ok()?;
        let bytes = self.stack.get(at..at.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
}
