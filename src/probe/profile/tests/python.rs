//! Names of Python functions, from files as the interpreter writes them.

use std::io::{Seek as _, Write as _};
use std::path::Path;

use super::super::classify::Place;
use super::super::python::{PythonFunction, find, functions, is_names_file};

const HEADER_BYTES: u32 = 40;
const FUNCTION: u32 = 0;
const UNWIND_TABLE: u32 = 4;

fn header(length: u32) -> Vec<u8> {
    let mut bytes = b"DTiJ".to_vec();
    [1, length].iter().for_each(|word| bytes.extend(u32::to_le_bytes(*word)));
    bytes.resize(length as usize, 0);
    bytes
}

fn record(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend((body.len() as u32 + 16).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn function(start: u64, size: u64, name: &str) -> Vec<u8> {
    let mut body = words(&[0, start, start, size, 7]);
    body.extend(name.bytes());
    body.push(0);
    body.resize(body.len() + size as usize, 0x90);
    record(FUNCTION, &body)
}

fn read(bytes: &[u8]) -> Vec<PythonFunction> {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("the file is writable");
    functions(&file)
}

fn names(functions: &[PythonFunction]) -> Vec<(&str, &str)> {
    functions
        .iter()
        .map(|it| match &it.frame.place {
            Place::Python(path) => (path.as_str(), it.frame.function.as_str()),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn file() -> Vec<u8> {
    let table = [&words(&[20 + 12, 12, 32])[..], &[1; 32]].concat();
    [
        header(HEADER_BYTES),
        record(UNWIND_TABLE, &table),
        function(0x3000, 0x30, "py::Handler.<locals>.<lambda>:/srv/echo/server.py"),
        function(0x1000, 0x30, "py::dumps:/usr/lib/python3.13/json/__init__.py"),
        record(UNWIND_TABLE, &table),
        function(0x2000, 0x30, "py::start:/env/lib/python3.13/site-packages/aiohttp/web.py"),
        function(0x4000, 0x30, "~~handle:/srv/other-runtime.js"),
    ]
    .concat()
}

#[test]
fn functions_have_their_names_and_addresses() {
    let functions = read(&file());
    let wanted = [
        ("json/__init__.py", "dumps"),
        ("aiohttp/web.py", "start"),
        ("server.py", "Handler.<locals>.<lambda>"),
    ];
    assert_eq!(names(&functions), wanted, "in the order of their addresses");
    let at = |address: u64| find(&functions, address).map(|it| it.frame.function.as_str());
    assert_eq!(
        [at(0xfff), at(0x1000), at(0x102f), at(0x1030), at(0x2010), at(0x9000)],
        [None, Some("dumps"), Some("dumps"), None, Some("start"), None]
    );
}

#[test]
fn a_file_that_is_cut_anywhere_has_the_functions_in_front() {
    let whole = file();
    let mut counts: Vec<usize> =
        (0..whole.len()).map(|length| read(&whole[..length]).len()).collect();
    assert!(counts.is_sorted());
    counts.dedup();
    assert_eq!(counts, [0, 1, 2, 3]);
}

#[test]
fn lengths_that_are_wrong_end_the_file() {
    for length in [0, 8, 15, 16, u32::MAX] {
        let mut bytes = file();
        bytes[44..48].copy_from_slice(&u32::to_le_bytes(length));
        let found = read(&bytes).len();
        assert!(found <= 3, "{length}: {found}");
    }
    let table = [&words(&[u64::MAX, 0, 0])[..], &[1; 32]].concat();
    let function = function(0x1000, 0x30, "py::f:/f.py");
    let bytes = [header(HEADER_BYTES), record(UNWIND_TABLE, &table), function.clone()].concat();
    assert_eq!(names(&read(&bytes)), [("f.py", "f")], "a function without a table has a name");
    let beyond = [header(HEADER_BYTES), self::function(u64::MAX, 1, "py::f:/f.py")].concat();
    assert!(read(&beyond).is_empty());
    let longer = [header(HEADER_BYTES + 8), function.clone()].concat();
    assert_eq!(read(&longer).len(), 1, "a later version has a longer header");
    let mut longer = [header(HEADER_BYTES), function].concat();
    longer[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(read(&longer).is_empty());
    assert!(read(b"\x7fELF").is_empty());
}

#[test]
fn only_files_of_names_are_read_as_such() {
    for (path, is_one) in [("/tmp/jit-12.dump", true), ("/tmp/jit-12.so", false), ("", false)] {
        assert_eq!(is_names_file(Path::new(path)), is_one, "{path}");
    }
}
