//! Mapping of a user's file; only pages that are read cost memory. If another process truncates the
//! file meanwhile, this process gets SIGBUS, as with any mapped file (mmap(2)).
#![allow(unsafe_code)] // Mapping a file has no safe form.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

#[derive(Debug)]
pub struct Mapping(Mmap);

impl Mapping {
    /// Maps the file at `path`; it may be empty.
    pub fn open(path: &Path) -> io::Result<Mapping> {
        Mapping::of_file(&File::open(path)?)
    }

    /// Maps an open file.
    pub fn of_file(file: &File) -> io::Result<Mapping> {
        // SAFETY: the map is private and read-only. A decoder accepts any bytes, so a change of the
        // file does no harm, and a truncation ends the process instead of a read beyond the file.
        unsafe { Mmap::map(file) }.map(Mapping)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_seen_whole_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for content in [&b""[..], b"\x93NUMPY"] {
            let path = folder.path().join("array.npy");
            std::fs::write(&path, content).expect("the folder is writable");
            assert_eq!(&*Mapping::open(&path).expect("the file is there"), content);
        }
        let error = Mapping::open(&folder.path().join("none.npy")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
