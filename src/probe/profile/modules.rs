//! Files that a profiled process had mapped: their functions, source files and unwind tables.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use addr2line::Loader;

use super::classify::{Frame, Place};
use super::perf_file::Mapping;
use super::program_file::{self, Names, ProgramFile, is_c_library};
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
    /// `None` if the file is not there or not readable.
    file: Option<Rc<ProgramFile>>,
    file_name: String,
    is_own: bool,
    is_c: bool,
}

impl Module {
    /// Opens the file of a mapping. Also returns its unwind table for `framehop`, if there is one.
    pub(super) fn open(mapping: &Mapping) -> (Module, Option<framehop::Module<Rc<[u8]>>>) {
        let &Mapping { start, end, file_offset, .. } = mapping;
        let path = &mapping.path;
        let file_name =
            path.file_name().map_or_else(String::new, |it| it.to_string_lossy().into_owned());
        let file = if path.as_os_str() == VDSO { vdso() } else { program_file::find(mapping) };
        let bias = file.as_ref().map_or(start, |file| file.bias(start, file_offset));
        let unwinding = file.as_ref().map(|file| file.unwinding(mapping, bias));
        let is_own = PROGRAMS.contains(&file_name.as_str()) || is_this_program(path);
        let is_c = is_c_library(path);
        (Module { start, end, bias, file, file_name, is_own, is_c }, unwinding)
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Returns the functions at an address, the innermost inlined one first.
    pub(super) fn frames(&self, address: u64) -> Rc<[Frame]> {
        let at = address.wrapping_sub(self.bias);
        match &self.file {
            Some(file) => file.functions(at, || self.find(&file.names, at)),
            None => [self.in_object(String::new())].into(),
        }
    }

    fn find(&self, names: &Names, at: u64) -> Vec<Frame> {
        match names {
            Names::Lines(loader) => {
                let mut frames = Vec::new();
                push_lines(loader, at, self.is_own, &mut frames);
                frames.iter_mut().for_each(|frame| name_object(frame, &self.file_name));
                if frames.is_empty() {
                    // C code that was linked in has no line tables.
                    let function = loader.find_symbol(at).unwrap_or_default();
                    frames.push(Frame { place: Place::C, function: demangled(function) });
                }
                frames
            }
            Names::Functions(functions) => {
                let function = functions.name(at).unwrap_or_default().to_owned();
                if self.is_c {
                    vec![Frame { place: Place::C, function }]
                } else {
                    vec![self.in_object(function)]
                }
            }
            Names::None => vec![self.in_object(String::new())],
        }
    }

    fn in_object(&self, function: String) -> Frame {
        Frame { place: Place::Object(self.file_name.clone()), function }
    }
}

/// Returns true for the file of this process, whatever its name: the lanes run it again.
fn is_this_program(path: &Path) -> bool {
    std::env::current_exe().is_ok_and(|this| this == path)
}

/// Reads the code that the kernel maps into every process.
fn vdso() -> Option<Rc<ProgramFile>> {
    let bytes = read_vdso().ok()?;
    let object = object::File::parse(bytes.as_slice()).ok()?;
    Some(Rc::new(ProgramFile::new(&object, Names::None)))
}

/// Gives a function of a program that is not ours to its object, if the object has a layer: an
/// interpreter and its extensions may have source files too.
fn name_object(frame: &mut Frame, file_name: &str) {
    let is_of_program = matches!(&frame.place, Place::Source { name, .. } if name == PROGRAM);
    if is_of_program && Rules::built_in().object(file_name).is_some() {
        frame.place = Place::Object(file_name.to_owned());
    }
}

fn push_lines(loader: &Loader, at: u64, is_own: bool, into: &mut Vec<Frame>) {
    let Ok(mut frames) = loader.find_frames(at) else { return };
    while let Ok(Some(frame)) = frames.next() {
        let function =
            frame.function.as_ref().and_then(|name| Some(name.demangle().ok()?.into_owned()));
        // A function into which no other was inlined has lines, but no entry of its own.
        let function = function.or_else(|| Some(last_name(&demangled(loader.find_symbol(at)?))));
        let file = frame.location.as_ref().and_then(|location| location.file);
        let (Some(function), Some(file)) = (function, file) else { continue };
        into.push(Frame { place: source(file, is_own), function });
    }
}

/// Returns the last name of a path, without generic arguments: what an entry of a function has.
fn last_name(path: &str) -> String {
    let mut depth = 0_usize;
    let mut last = String::new();
    let mut before = ' ';
    for letter in path.chars() {
        match letter {
            '<' => depth += 1,
            // The arrow in the type of a function closes nothing.
            '>' if before != '-' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => last.clear(),
            _ if depth == 0 => last.push(letter),
            _ => {}
        }
        before = letter;
    }
    last
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
    // The crate includes its generated code as `src/../proto/FILE`.
    let root = file.rfind("/src/").filter(|_| !file.contains("src/../"));
    let Some(root) = root else {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_last_name() {
        for (path, name) in [
            ("ndecho::codec::planted::Planted<T>::decode_late", "decode_late"),
            ("<ndecho::wire::raw::Raw<H> as ndecho::wire::machine::Machine>::receive", "receive"),
            ("ndecho::stack::tonic::serve<fn(u8) -> a::B, C>", "serve"),
            ("ndecho::service::echo::echo::{{closure}}", "{{closure}}"),
            ("main", "main"),
        ] {
            assert_eq!(last_name(path), name);
        }
    }

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
        for file in ["/home/me/ndecho/src/../proto/generated.rs", "src/../proto/generated.rs"] {
            assert_eq!(of(file, true), "ndecho proto/generated.rs");
        }
        assert_eq!(of("/rustc/4a4e/library/core/src/ptr/mod.rs", true), "core src/ptr/mod.rs");
        assert_eq!(of("/home/me/ndecho/src/wire/raw.rs", true), "ndecho src/wire/raw.rs");
        assert_eq!(of("src/wire/raw.rs", true), "ndecho src/wire/raw.rs");
        assert_eq!(of("/home/me/other/src/main.rs", false), "program src/main.rs");
    }

    #[test]
    fn an_interpreter_with_source_files_is_no_application() {
        let place = |file_name: &str, file: &str| {
            let mut frame = Frame { place: source(file, false), function: String::new() };
            name_object(&mut frame, file_name);
            frame.place
        };
        let file = "/tmp/python-build/Python-3.11.7/Python/ceval.c";
        assert_eq!(place("python3.11", file), Place::Object("python3.11".to_owned()));
        let codec = "_json.cpython-311-x86_64-linux-gnu.so";
        assert_eq!(place(codec, "/b/Modules/_json.c"), Place::Object(codec.to_owned()));
        assert!(matches!(place("nginx", "/b/src/core/nginx.c"), Place::Source { .. }));
    }

    #[test]
    fn the_code_of_the_kernel_in_every_process_is_an_object() {
        let bytes = read_vdso().expect("Linux maps it");
        let object = object::File::parse(bytes.as_slice()).expect("it is ELF");
        assert!(object::Object::section_by_name(&object, ".eh_frame").is_some());
    }
}
