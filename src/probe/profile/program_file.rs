//! Program or library that a profiled process had mapped: found again, and read once.
//!
//! A path alone is not enough. In a container it names another file, a new build may have replaced
//! the file, or it is deleted; and whatever lies at the path now may be a FIFO, whose opening would
//! never end. So a file counts only if it is a regular one with the identity of the mapped one.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use addr2line::Loader;
use framehop::ExplicitModuleSectionInfo;
use object::{Object, ObjectSection as _, ObjectSegment as _};

use crate::sys::mapping;

use super::c_functions::CFunctions;
use super::classify::Frame;
use super::kernel_symbols::KernelSymbols;
use super::perf_file::{Identity, Mapping};

/// Files whose names are kept for later profiles: the same servers are profiled again and again.
const KEPT_MAX: usize = 32;

/// Addresses of a file whose functions are kept.
const ADDRESSES_MAX: usize = 1 << 16;

/// End of a path in /proc/PID/maps whose file has no name any more.
const DELETED: &str = " (deleted)";

/// Contents of a file that names and unwinding need.
pub(super) struct ProgramFile {
    pub(super) names: Names,
    /// Functions at an address that was asked for before.
    pub(super) known: RefCell<HashMap<u64, Rc<[Frame]>>>,
    segments: Vec<Segment>,
    sections: ExplicitModuleSectionInfo<Rc<[u8]>>,
}

pub(super) enum Names {
    /// With debug information.
    Lines(Box<Loader>),
    Functions(CFunctions),
    /// For the code of the kernel, whose unwind table alone is used.
    None,
}

struct Segment {
    address: u64,
    offset: u64,
    size: u64,
}

/// Device, inode, length and time of change.
type Key = (u64, u64, u64, i64, i64);

/// Files and kernel symbols of earlier profiles.
#[derive(Default)]
struct Kept {
    files: RefCell<Vec<(Key, Rc<ProgramFile>)>>,
    kernel: OnceCell<Rc<KernelSymbols>>,
}

thread_local! {
    // Debug information takes half a second to read, and a run profiles one program many times.
    static KEPT: Kept = Kept::default();
}

/// Returns the symbols of the running kernel, which are read once.
pub(super) fn kernel_symbols() -> Rc<KernelSymbols> {
    KEPT.with(|kept| {
        let read = || Rc::new(KernelSymbols::read().unwrap_or_default());
        Rc::clone(kept.kernel.get_or_init(read))
    })
}

/// Finds the file of a mapping and reads it, unless it was read before.
pub(super) fn find(mapping: &Mapping) -> Option<Rc<ProgramFile>> {
    let (file, metadata) = open(mapping)?;
    let key: Key =
        (metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    KEPT.with(|kept| {
        let mut files = kept.files.borrow_mut();
        if let Some(at) = files.iter().position(|(other, _)| *other == key) {
            // The last one used is the last one dropped.
            let found = files.remove(at);
            files.push(found);
        } else {
            let read = ProgramFile::read(&file, mapping, metadata.ino())?;
            if files.len() == KEPT_MAX {
                files.remove(0);
            }
            files.push((key, Rc::new(read)));
        }
        files.last().map(|(_, file)| Rc::clone(file))
    })
}

/// Opens the file of a mapping: at its path, through the mapping itself, which needs privileges, or
/// at its path in the process's own root.
pub(super) fn open(mapping: &Mapping) -> Option<(File, Metadata)> {
    let Mapping { pid, start, end, path, .. } = mapping;
    let text = path.to_string_lossy();
    let has_path = text.starts_with('/') && !text.starts_with("//");
    let path = Path::new(text.strip_suffix(DELETED).unwrap_or(&text));
    let in_root = path.strip_prefix("/").unwrap_or(path);
    let places = [
        path.to_owned(),
        PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}")),
        Path::new(&format!("/proc/{pid}/root")).join(in_root),
    ];
    places.iter().filter(|_| has_path).find_map(|place| open_if_same(place, &mapping.identity))
}

/// Opens a file without waiting, and returns it if it is a regular file with this identity.
fn open_if_same(path: &Path, identity: &Identity) -> Option<(File, Metadata)> {
    // A FIFO without a writer, a terminal or a device must neither wait nor become ours.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok().filter(Metadata::is_file)?;
    let is_same = match identity {
        Identity::Inode(inode) => metadata.ino() == *inode,
        Identity::BuildId(id) => {
            let bytes = mapping::Mapping::of_file(&file).ok()?;
            let object = object::File::parse(&*bytes).ok()?;
            // The recording may have an id that is filled up with zeros.
            object.build_id().ok()?.is_some_and(|own| id.starts_with(own))
        }
        Identity::Unknown => true,
    };
    is_same.then_some((file, metadata))
}

impl ProgramFile {
    fn read(file: &File, mapping: &Mapping, inode: u64) -> Option<ProgramFile> {
        let bytes = mapping::Mapping::of_file(file).ok()?;
        let object = object::File::parse(&*bytes).ok()?;
        let names = if object.section_by_name(".debug_info").is_some() {
            // The loader opens the file that was checked, not what is at its path now.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            Names::Lines(Box::new(Loader::new(path).ok()?))
        } else {
            let copies = if is_c_library(&mapping.path) { copies(inode) } else { Vec::new() };
            Names::Functions(CFunctions::read(&object, &copies))
        };
        Some(ProgramFile::new(&object, names))
    }

    /// Reads the segments and the unwind table of an object.
    pub(super) fn new(object: &object::File<'_>, names: Names) -> ProgramFile {
        let segment = |segment: object::Segment<'_, '_>| {
            let (offset, size) = segment.file_range();
            Segment { address: segment.address(), offset, size }
        };
        let section = |name: &str| object.section_by_name(name);
        let range = |name: &str| {
            section(name).map(|it| it.address()..it.address().saturating_add(it.size()))
        };
        let data =
            |name: &str| section(name).and_then(|it| Some(it.uncompressed_data().ok()?.into()));
        ProgramFile {
            names,
            known: RefCell::default(),
            segments: object.segments().map(segment).collect(),
            sections: ExplicitModuleSectionInfo {
                base_svma: 0,
                text_svma: range(".text"),
                got_svma: range(".got"),
                eh_frame_svma: range(".eh_frame"),
                eh_frame: data(".eh_frame"),
                eh_frame_hdr_svma: range(".eh_frame_hdr"),
                eh_frame_hdr: data(".eh_frame_hdr"),
                ..Default::default()
            },
        }
    }

    /// Returns the difference of addresses in memory and in the file, for a mapping at `start` of
    /// the file from `file_offset` on.
    pub(super) fn bias(&self, start: u64, file_offset: u64) -> u64 {
        const PAGE: u64 = 0x1000;
        // A page may hold the end of one segment and the start of the next, the mapped one.
        let mut address = self.segments.iter().filter_map(|&Segment { address, offset, size }| {
            let first_page = offset & !(PAGE - 1);
            let holds = (first_page..offset.saturating_add(size)).contains(&file_offset);
            holds.then(|| address.wrapping_sub(offset).wrapping_add(file_offset))
        });
        start.wrapping_sub(address.next_back().unwrap_or(file_offset))
    }

    /// Returns the unwind table for a mapping.
    pub(super) fn unwinding(&self, mapping: &Mapping, bias: u64) -> framehop::Module<Rc<[u8]>> {
        let sections = &self.sections;
        let info = ExplicitModuleSectionInfo {
            base_svma: sections.base_svma,
            text_svma: sections.text_svma.clone(),
            got_svma: sections.got_svma.clone(),
            eh_frame_svma: sections.eh_frame_svma.clone(),
            eh_frame: sections.eh_frame.clone(),
            eh_frame_hdr_svma: sections.eh_frame_hdr_svma.clone(),
            eh_frame_hdr: sections.eh_frame_hdr.clone(),
            ..Default::default()
        };
        let name = mapping.path.to_string_lossy().into_owned();
        framehop::Module::new(name, mapping.start..mapping.end, bias, info)
    }

    /// Returns the functions at an address of the file, which `find` looks up once.
    pub(super) fn functions(&self, at: u64, find: impl FnOnce() -> Vec<Frame>) -> Rc<[Frame]> {
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.get(&at) {
            return Rc::clone(known);
        }
        let frames: Rc<[Frame]> = find().into();
        if known.len() < ADDRESSES_MAX {
            known.insert(at, Rc::clone(&frames));
        }
        frames
    }
}

/// Returns whether the C library is at `path`: libc.so.6, or libc-2.31.so before glibc 2.34.
pub(super) fn is_c_library(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with("libc.so") || name.starts_with("libc-"))
}

/// Returns the addresses in the file of the copies that glibc chose for this processor, and the
/// names that they go by. Another process on this machine uses the same ones, if it has the same
/// library: the one with this inode.
pub(super) fn copies(inode: u64) -> Vec<(u64, &'static str)> {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return Vec::new() };
    let is_it = |line: &&str| {
        let mut words = line.split_ascii_whitespace().skip(4);
        words.next().is_some_and(|word| word.parse() == Ok(inode))
    };
    let base = maps.lines().find(is_it);
    let Some(base) = base.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok())
    else {
        return Vec::new();
    };
    let chosen = [
        (libc::memcpy as *const () as u64, "memcpy"),
        (libc::memmove as *const () as u64, "memmove"),
        (libc::memset as *const () as u64, "memset"),
        (libc::memcmp as *const () as u64, "memcmp"),
    ];
    chosen.iter().filter_map(|(at, name)| Some((at.checked_sub(base)?, *name))).collect()
}
