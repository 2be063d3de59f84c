//! A user's file as bytes, mapped and not read: an array of gigabytes is there at once and costs memory only where
//! it is looked at.
//!
//! Invariant a caller relies on: the bytes stay mapped while the [`Mapping`] lives. What it cannot promise is that
//! nobody truncates the file meanwhile; the process then gets SIGBUS, as with any mapped file (mmap(2)).
#![allow(unsafe_code)] // Mapping a file has no safe form.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// A whole file, read-only.
#[derive(Debug)]
pub struct Mapping(Mmap);

impl Mapping {
    /// Maps the file at `path`, which may be empty.
    pub fn open(path: &Path) -> io::Result<Mapping> {
        let file = File::open(path)?;
        // SAFETY: the map is private and read-only, and every reader of it checks what it reads. That the file is
        // not changed while it is mapped is up to the user who named it; a decoder copes with any bytes, and a
        // truncation ends the process instead of reading beyond the file.
        unsafe { Mmap::map(&file) }.map(Mapping)
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
