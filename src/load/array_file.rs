//! The array in a user's `.npy` file. Each error names the file, and what was expected of it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Deref;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::array::ArrayView;
use crate::codec::npy::Npy;
use crate::codec::{ArrayCodec as _, CodecError};
use crate::sys::mapping::Mapping;

/// First bytes of a `.npy` file, and of a zip archive such as `.npz`.
const NPY: &[u8] = b"\x93NUMPY";
const ZIP: &[u8] = b"PK";

/// An open file. Of a regular one, only the pages that are read cost memory.
#[derive(Debug)]
pub struct ArrayFile {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Mapped(Mapping),
    Read(Vec<u8>),
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Content::Mapped(bytes) => bytes,
            Content::Read(bytes) => bytes,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ArrayFileError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is {what}, expected a .npy file", path.display())]
    Other { path: PathBuf, what: &'static str },
    #[error(
        "{0} is an archive like .npz, which may hold several arrays, expected a .npy file: save \
         one array with numpy.save(\"one.npy\", numpy.load(\"{0}\")[\"NAME\"])",
        path.display()
    )]
    Archive { path: PathBuf },
    #[error(
        "{} is not a .npy file: it does not begin with \\x93NUMPY; save the array with numpy.save",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error("{} is not a .npy file that ndecho can send: {source}", path.display())]
    Array { path: PathBuf, source: CodecError },
}

impl ArrayFile {
    /// Opens a file that can be read again. A pipe cannot.
    pub fn open(path: &Path) -> Result<ArrayFile, ArrayFileError> {
        let path = path.to_owned();
        let unreadable = |source| ArrayFileError::Read { path: path.clone(), source };
        let kind = fs::metadata(&path).map_err(unreadable)?.file_type();
        if !kind.is_file() {
            let what = if kind.is_dir() { "a folder" } else { "not a regular file" };
            return Err(ArrayFileError::Other { path, what });
        }
        let bytes = Mapping::open(&path).map_err(unreadable)?;
        ArrayFile::checked(path, Content::Mapped(bytes))
    }

    /// Opens a file, or reads a pipe to its end; `-` is stdin.
    pub fn read(path: &Path) -> Result<ArrayFile, ArrayFileError> {
        let is_stdin = path == Path::new("-");
        let is_pipe = || fs::metadata(path).is_ok_and(|kind| kind.file_type().is_fifo());
        if !is_stdin && !is_pipe() {
            return ArrayFile::open(path);
        }
        let mut bytes = Vec::new();
        let (name, read) = match is_stdin {
            true => ("stdin".into(), io::stdin().lock().read_to_end(&mut bytes)),
            false => {
                let read = File::open(path).and_then(|mut pipe| pipe.read_to_end(&mut bytes));
                (path.to_owned(), read)
            }
        };
        match read {
            Ok(_) => ArrayFile::checked(name, Content::Read(bytes)),
            Err(source) => Err(ArrayFileError::Read { path: name, source }),
        }
    }

    fn checked(path: PathBuf, content: Content) -> Result<ArrayFile, ArrayFileError> {
        if content.is_empty() {
            return Err(ArrayFileError::Other { path, what: "empty" });
        }
        if content.starts_with(ZIP) {
            return Err(ArrayFileError::Archive { path });
        }
        // A file that is cut inside these bytes is one that ends early.
        if !NPY.starts_with(&content) && !content.starts_with(NPY) {
            return Err(ArrayFileError::Foreign { path });
        }
        Ok(ArrayFile { path, content })
    }

    /// Returns the array; `scratch` holds the items of one in Fortran order.
    pub fn view<'a>(&'a self, scratch: &'a mut Vec<u8>) -> Result<ArrayView<'a>, ArrayFileError> {
        Npy.decode(&self.content, scratch)
            .map_err(|source| ArrayFileError::Array { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn refusal(name: &str, content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let opened = ArrayFile::open(&path);
        let read = opened.and_then(|file| file.view(&mut Vec::new()).map(|_| ()));
        let text = read.expect_err(name).to_string();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        text
    }

    #[test]
    fn a_file_that_is_no_array_is_refused_by_its_kind() {
        let archive = refusal("a.npz", b"PK\x03\x04 and so on");
        assert!(archive.contains("numpy.save(\"one.npy\", numpy.load("), "{archive}");
        assert!(refusal("zero.npy", b"").contains(" is empty, expected a .npy file"));
        for foreign in [&b"1.0, 2.0\n"[..], b"\x89HDF\r\n", b"P", b"\x93NUMBER"] {
            let text = refusal("a.csv", foreign);
            assert!(text.contains("is not a .npy file: it does not begin with"), "{text}");
        }
        for cut in [&NPY[..3], NPY, b"\x93NUMPY\x01\x00\x76\x00{'descr'"] {
            let text = refusal("cut.npy", cut);
            assert!(
                text.contains("is not a .npy file that ndecho can send: npy at byte "),
                "{text}"
            );
        }
    }

    #[test]
    fn a_place_without_a_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = ArrayFile::open(folder.path()).unwrap_err().to_string();
        assert!(text.ends_with(" is a folder, expected a .npy file"), "{text}");
        let text = ArrayFile::open(Path::new("/dev/null")).unwrap_err().to_string();
        assert_eq!(text, "/dev/null is not a regular file, expected a .npy file");
        let text = ArrayFile::open(&folder.path().join("none.npy")).unwrap_err().to_string();
        assert!(text.starts_with("cannot read ") && text.contains("none.npy: No such"), "{text}");
    }

    #[test]
    fn a_pipe_is_read_once_and_not_opened_as_a_file() {
        let npy = b"\x93NUMPY\x01\x00\x3a\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}  \n\x07\x08";
        let (reader, mut writer) = io::pipe().unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        let refused = ArrayFile::open(&path).unwrap_err().to_string();
        assert!(refused.ends_with(" is not a regular file, expected a .npy file"), "{refused}");
        writer.write_all(npy).unwrap();
        drop(writer);
        let file = ArrayFile::read(&path).unwrap();
        assert_eq!(file.view(&mut Vec::new()).unwrap().data(), [7, 8]);
        let empty = ArrayFile::read(&path).unwrap_err().to_string();
        assert!(empty.ends_with(" is empty, expected a .npy file"), "{empty}");
    }
}
