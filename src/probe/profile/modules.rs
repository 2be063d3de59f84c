//! Files that a profiled process had mapped: their functions, source files and unwind tables.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use addr2line::Loader;
use framehop::ExplicitModuleSectionInfo;
use object::{Object, ObjectSection as _, ObjectSegment as _};

use super::c_functions::CFunctions;
use super::classify::{Frame, Place};
use super::perf_file::Mapping;
use super::rules::{OWN, Rules};

/// Programs of this crate, whose source files have the rules of [`OWN`].
const PROGRAMS: [&str; 3] = ["ndecho", "uring-server", "tonic-server"];

/// Name of the crate of a source file that belongs to no registry and to none of [`PROGRAMS`].
const PROGRAM: &str = "program";

const VDSO: &str = "[vdso]";

/// Mapped file with its names.
pub(super) struct Module {
    start: u64,
    end: u64,
    /// Difference of an address in memory and in the file.
    bias: u64,
    names: Names,
    file_name: String,
}

enum Names {
    /// With debug information.
    Lines {
        loader: Box<Loader>,
        is_own: bool,
    },
    Functions {
        functions: CFunctions,
        is_c: bool,
    },
    None,
}

impl Module {
    /// Opens the file of a mapping. Also returns its unwind table for `framehop`, if there is one.
    pub(super) fn open(
        mapping: &Mapping,
        copies: &[(u64, &str)],
    ) -> (Module, Option<framehop::Module<Vec<u8>>>) {
        let &Mapping { start, end, file_offset, .. } = mapping;
        let path = &mapping.path;
        let file_name =
            path.file_name().map_or_else(String::new, |it| it.to_string_lossy().into_owned());
        let nameless =
            |bias| Module { start, end, bias, names: Names::None, file_name: file_name.clone() };
        let bytes = if path.as_os_str() == VDSO { read_vdso() } else { std::fs::read(path) };
        let Ok(bytes) = bytes else { return (nameless(start), None) };
        let Ok(object) = object::File::parse(bytes.as_slice()) else {
            return (nameless(start), None);
        };
        let bias = bias(&object, start, file_offset);
        let unwinding = unwind_module(&object, mapping, bias);
        let is_c = is_c_library(path);
        let names = if path.as_os_str() == VDSO {
            Names::None
        } else if object.section_by_name(".debug_info").is_some() {
            let is_own = PROGRAMS.contains(&file_name.as_str());
            Loader::new(path)
                .map_or(Names::None, |loader| Names::Lines { loader: Box::new(loader), is_own })
        } else {
            let copies = if is_c { copies } else { &[] };
            Names::Functions { functions: CFunctions::read(path, copies), is_c }
        };
        (Module { start, end, bias, names, file_name }, Some(unwinding))
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Appends the functions at an address to `frames`, the innermost inlined one first.
    pub(super) fn frames(&self, address: u64, frames: &mut Vec<Frame>) {
        let at = address.wrapping_sub(self.bias);
        match &self.names {
            Names::Lines { loader, is_own } => {
                let before = frames.len();
                push_lines(loader, at, *is_own, frames);
                if frames.len() == before {
                    // C code that was linked in has no line tables.
                    let function = loader.find_symbol(at).unwrap_or_default();
                    frames.push(Frame { place: Place::C, function: demangled(function) });
                }
            }
            Names::Functions { functions, is_c } => {
                let function = functions.name(at).unwrap_or_default().to_owned();
                let place = if *is_c { Place::C } else { Place::Object(self.file_name.clone()) };
                frames.push(Frame { place, function });
            }
            Names::None => frames.push(Frame {
                place: Place::Object(self.file_name.clone()),
                function: String::new(),
            }),
        }
    }
}

fn push_lines(loader: &Loader, at: u64, is_own: bool, into: &mut Vec<Frame>) {
    let Ok(mut frames) = loader.find_frames(at) else { return };
    while let Ok(Some(frame)) = frames.next() {
        let function =
            frame.function.as_ref().and_then(|name| Some(name.demangle().ok()?.into_owned()));
        let file = frame.location.as_ref().and_then(|location| location.file);
        let (Some(function), Some(file)) = (function, file) else { continue };
        into.push(Frame { place: source(file, is_own), function });
    }
}

fn demangled(function: &str) -> String {
    addr2line::demangle_auto(function.into(), None).into_owned()
}

/// Splits the path of a source file into a crate and the path below its root. A crate outside of a
/// registry, such as a patched one, has the name of its folder.
pub(super) fn source(file: &str, is_own: bool) -> Place {
    let place = |name: &str, path: &str| Place::Source { name: name.into(), path: path.into() };
    let is_std = file.contains("/rustc/") || file.contains("/rustlib/src/rust/");
    if let Some((_, below)) = file.split_once("/library/").filter(|_| is_std)
        && let Some((name, path)) = below.split_once('/')
    {
        return place(name, path);
    }
    let program = if is_own { OWN } else { PROGRAM };
    let Some(root) = file.rfind("/src/") else {
        let proto = file.rfind("/proto/").map_or(file, |at| &file[at + 1..]);
        return place(program, proto);
    };
    let folder = file[..root].rsplit('/').next().unwrap_or_default();
    let name = without_version(folder);
    let is_in_registry = file.contains("/registry/src/") || file.contains("/git/checkouts/");
    let is_crate = is_in_registry || Rules::built_in().knows_crate(name);
    place(if is_crate { name } else { program }, &file[root + 1..])
}

/// Returns the name in front of a version, as in `tokio-util-0.7.16`.
fn without_version(folder: &str) -> &str {
    let is_version = |(at, _): &(usize, &str)| {
        folder[at + 1..].starts_with(|first: char| first.is_ascii_digit())
    };
    folder.match_indices('-').find(is_version).map_or(folder, |(at, _)| &folder[..at])
}

/// Returns the difference of addresses in memory and in the file, for a mapping at `start` of the
/// file from `file_offset` on.
fn bias(object: &object::File<'_>, start: u64, file_offset: u64) -> u64 {
    const PAGE: u64 = 0x1000;
    // A page may hold the end of one segment and the start of the next, which is the mapped one.
    let address = object.segments().filter_map(|segment| {
        let (offset, size) = segment.file_range();
        let first_page = offset & !(PAGE - 1);
        let holds = (first_page..offset + size).contains(&file_offset);
        holds.then(|| segment.address().wrapping_sub(offset).wrapping_add(file_offset))
    });
    start.wrapping_sub(address.last().unwrap_or(file_offset))
}

fn unwind_module(
    object: &object::File<'_>,
    mapping: &Mapping,
    bias: u64,
) -> framehop::Module<Vec<u8>> {
    let section = |name: &str| object.section_by_name(name);
    let range = |name: &str| {
        section(name).map(|section| section.address()..section.address() + section.size())
    };
    let data =
        |name: &str| section(name).and_then(|it| Some(it.uncompressed_data().ok()?.into_owned()));
    let info = ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: range(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        ..Default::default()
    };
    let name = mapping.path.to_string_lossy().into_owned();
    framehop::Module::new(name, mapping.start..mapping.end, bias, info)
}

/// Reads the code that the kernel maps into every process. It is the same for all of them.
fn read_vdso() -> io::Result<Vec<u8>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let line = maps.lines().find(|line| line.ends_with(VDSO)).ok_or(io::ErrorKind::NotFound)?;
    let range = line.split_ascii_whitespace().next().and_then(|range| range.split_once('-'));
    let address =
        |text: &str| u64::from_str_radix(text, 16).map_err(|_| io::ErrorKind::InvalidData);
    let (start, end) = range.ok_or(io::ErrorKind::InvalidData)?;
    let (start, end) = (address(start)?, address(end)?);
    let mut memory = std::fs::File::open("/proc/self/mem")?;
    memory.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; usize::try_from(end - start).map_err(|_| io::ErrorKind::InvalidData)?];
    memory.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Returns whether the C library is at `path`: libc.so.6, or libc-2.31.so before glibc 2.34.
pub(super) fn is_c_library(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with("libc.so") || name.starts_with("libc-"))
}

/// Returns the addresses in the file of the copies that glibc chose for this processor, and the
/// names that they go by. Another process on this machine uses the same ones.
pub(super) fn copies(library: &Path) -> Vec<(u64, &'static str)> {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return Vec::new() };
    let library = library.to_string_lossy();
    let base = maps.lines().find(|line| line.ends_with(library.as_ref()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_file_tells_its_crate() {
        let of = |file: &str, is_own| match source(file, is_own) {
            Place::Source { name, path } => format!("{name} {path}"),
            other => panic!("{other:?}"),
        };
        let registry = "/home/me/.cargo/registry/src/index.example.org-0123456789abcdef";
        assert_eq!(
            of(&format!("{registry}/h2-0.4.20/src/proto/mod.rs"), true),
            "h2 src/proto/mod.rs"
        );
        assert_eq!(
            of(&format!("{registry}/tokio-util-0.7.16/src/codec/framed.rs"), true),
            "tokio-util src/codec/framed.rs"
        );
        assert_eq!(
            of("/c/git/checkouts/tonic-27d29c/1ab2/tonic/src/codec/mod.rs", true),
            "tonic src/codec/mod.rs"
        );
        assert_eq!(of("/home/me/h2/src/proto/mod.rs", true), "h2 src/proto/mod.rs", "patched");
        assert_eq!(of("/home/me/library/ndecho/src/codec/npy.rs", true), "ndecho src/codec/npy.rs");
        assert_eq!(of("/home/me/ndecho/proto/generated.rs", true), "ndecho proto/generated.rs");
        assert_eq!(of("/rustc/4a4e/library/core/src/ptr/mod.rs", true), "core src/ptr/mod.rs");
        assert_eq!(of("/home/me/ndecho/src/wire/raw.rs", true), "ndecho src/wire/raw.rs");
        assert_eq!(of("src/wire/raw.rs", true), "ndecho src/wire/raw.rs");
        assert_eq!(of("/home/me/other/src/main.rs", false), "program src/main.rs");
    }

    #[test]
    fn the_code_of_the_kernel_in_every_process_is_an_object() {
        let bytes = read_vdso().expect("Linux maps it");
        let object = object::File::parse(bytes.as_slice()).expect("it is ELF");
        assert!(object.section_by_name(".eh_frame").is_some());
    }
}
