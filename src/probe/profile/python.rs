//! Functions of a Python program, from the file in which the interpreter names them.
//!
//! With [`SETTING`] in its environment, Python 3.13 and later call each Python function through
//! machine code of its own, a trampoline, and write the address, name and unwind table of every
//! trampoline to `/tmp/jit-PID.dump`. The file has perf's format for compilers at run time
//! (jitdump-specification.txt in the sources of Linux):
//!
//! ```text
//! file    [ magic, version, length of the header ... | record | record ... ]
//! record  [ kind, length, time | body ]
//! ```
//!
//! A record of an unwind table belongs to the function in the record behind it. The reader of
//! linux-perf-data expects the header of the table in front of the table, where Python writes it
//! behind, and it trusts the lengths of a file. So the records are read here.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use framehop::ExplicitModuleSectionInfo;

use crate::probe::process_tree::process;

use super::classify::{Frame, Place};

/// Variable that makes the interpreter name its functions. Older ones, and other programs, ignore
/// it.
pub const SETTING: (&str, &str) = ("PYTHON_PERF_JIT_SUPPORT", "1");

/// Bytes of a file that are read. A server has a few hundred functions of 200 bytes.
const BYTES_MAX: u64 = 64 << 20;

/// Number of the format, as its first bytes on x86-64.
const MAGIC: &[u8] = b"DTiJ";

const HEADER_BYTES: usize = 40;
const RECORD_HEADER_BYTES: usize = 16;

/// Kinds of records (`JIT_CODE_LOAD`, `JIT_CODE_UNWINDING_INFO`).
const FUNCTION: u32 = 0;
const UNWIND_TABLE: u32 = 4;

/// Start of a name that the interpreter wrote: `py::NAME:PATH`.
const PREFIX: &[u8] = b"py::";

/// Python function with a trampoline.
#[derive(Debug)]
pub(super) struct PythonFunction {
    pub(super) range: Range<u64>,
    pub(super) frame: Frame,
    eh_frame: Rc<[u8]>,
}

/// File of a server that this process started. A drop removes it, since the interpreter does not.
#[derive(Debug)]
pub struct NamesFile(PathBuf);

impl NamesFile {
    pub fn of_process(pid: u32) -> NamesFile {
        NamesFile(format!("/tmp/jit-{pid}.dump").into())
    }
}

impl Drop for NamesFile {
    fn drop(&mut self) {
        // An older interpreter wrote none.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Returns whether a process names its Python functions.
pub(super) fn are_named(pid: u32) -> bool {
    let Ok(maps) = process(pid).and_then(|it| it.maps().map_err(std::io::Error::other)) else {
        return false;
    };
    maps.into_iter().any(|map| match map.pathname {
        procfs::process::MMapPath::Path(path) => is_names_file(&path),
        _ => false,
    })
}

/// Returns whether `path` is a file of names. The interpreter maps it only to tell its path.
pub(super) fn is_names_file(path: &Path) -> bool {
    let name = path.file_name().map(|it| it.to_string_lossy());
    name.is_some_and(|it| it.starts_with("jit-") && it.ends_with(".dump"))
}

/// Reads the functions of a file, in the order of their addresses. A file that is cut short, or
/// broken from some place on, has the functions in front of it.
pub(super) fn functions(file: &File) -> Vec<PythonFunction> {
    let mut bytes = Vec::new();
    if file.take(BYTES_MAX).read_to_end(&mut bytes).is_err() {
        return Vec::new();
    }
    let mut functions = parse(&bytes);
    functions.sort_by_key(|function| function.range.start);
    functions
}

/// Returns the function at an address; `functions` are in the order of their addresses.
pub(super) fn find(functions: &[PythonFunction], address: u64) -> Option<&PythonFunction> {
    let after = functions.partition_point(|it| it.range.start <= address);
    functions[..after].last().filter(|it| it.range.contains(&address))
}

impl PythonFunction {
    /// Reads the body of a record: process, thread, three words, length, number, name and code.
    fn read(body: &[u8], eh_frame: &[u8]) -> Option<PythonFunction> {
        let start = word(body, 16)?;
        let end = start.checked_add(word(body, 24)?)?;
        let name = body.get(40..)?.strip_prefix(PREFIX)?.split(|byte| *byte == 0).next()?;
        let name = String::from_utf8_lossy(name);
        let (function, path) = name.split_once(':').unwrap_or((&name, ""));
        let place = Place::Python(short(path).to_owned());
        let frame = Frame { place, function: function.to_owned() };
        Some(PythonFunction { range: start..end, frame, eh_frame: eh_frame.into() })
    }

    /// Returns the unwind table for `framehop`. Its addresses are relative, as if the table lay
    /// behind the code.
    pub(super) fn unwinding(&self) -> framehop::Module<Rc<[u8]>> {
        let Range { start, end } = self.range;
        let table = (end - start).next_multiple_of(8);
        let info = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: Some(0..end - start),
            eh_frame_svma: Some(table..table.saturating_add(self.eh_frame.len() as u64)),
            eh_frame: Some(Rc::clone(&self.eh_frame)),
            ..Default::default()
        };
        framehop::Module::new(self.frame.function.clone(), start..end, start, info)
    }
}

fn parse(bytes: &[u8]) -> Vec<PythonFunction> {
    let mut functions = Vec::new();
    let mut eh_frame: &[u8] = &[];
    let mut rest = records(bytes).unwrap_or_default();
    while let Some((kind, body, behind)) = record(rest) {
        match kind {
            UNWIND_TABLE => eh_frame = unwind_table(body).unwrap_or_default(),
            FUNCTION => {
                functions.extend(PythonFunction::read(body, eh_frame));
                eh_frame = &[];
            }
            _ => {}
        }
        rest = behind;
    }
    functions
}

/// Returns what follows the header of a file.
fn records(bytes: &[u8]) -> Option<&[u8]> {
    let header = half_word(bytes, 8)? as usize;
    bytes.starts_with(MAGIC).then(|| bytes.get(header.max(HEADER_BYTES)..))?
}

/// Splits the first record off: its kind and body, and what is behind.
fn record(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let length = half_word(bytes, 4)? as usize;
    let body = bytes.get(RECORD_HEADER_BYTES..length)?;
    Some((half_word(bytes, 0)?, body, &bytes[length..]))
}

/// Returns the table in the body of a record: length of both, of its header, and of what is mapped;
/// then the table and its header.
fn unwind_table(body: &[u8]) -> Option<&[u8]> {
    let both = usize::try_from(word(body, 0)?).ok()?;
    let header = usize::try_from(word(body, 8)?).ok()?;
    body.get(24..)?.get(..both.checked_sub(header)?)
}

/// Returns the part of a path that tells where a function is from.
fn short(path: &str) -> &str {
    let below = |folder: &str| path.rsplit_once(folder).map(|(_, below)| below);
    let of_library = || below("/lib/python3.")?.split_once('/').map(|(_, below)| below);
    let name = || path.rsplit('/').next().unwrap_or(path);
    below("/site-packages/").or_else(of_library).unwrap_or_else(name)
}

fn half_word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
