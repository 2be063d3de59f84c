//! The file of a run, which gets a line after every trial.
//!
//! An existing file is never overwritten. To resume a run, the incomplete last line that a full
//! disk or a killed process leaves is cut off, so at most one trial is lost.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::record::Line;

pub const RECORDS: &str = "records.jsonl";

#[derive(Debug)]
pub struct Records<W: Write = File> {
    file: W,
    path: PathBuf,
}

impl Records {
    pub fn create(folder: &Path) -> anyhow::Result<Records> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        let path = folder.join(RECORDS);
        let file = File::create_new(&path).with_context(|| {
            format!(
                "cannot create {}: choose another --out, or resume the run with --continue",
                path.display()
            )
        })?;
        Ok(Records { file, path })
    }

    pub fn resume(folder: &Path) -> anyhow::Result<Records> {
        let path = folder.join(RECORDS);
        let open = || -> std::io::Result<File> {
            let text = std::fs::read(&path)?;
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let mut file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().with_context(|| format!("cannot resume {}", path.display()))?;
        Ok(Records { file, path })
    }
}

impl<W: Write> Records<W> {
    pub fn append(&mut self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(line).expect("a record is plain data");
        text.push('\n');
        self.file.write_all(text.as_bytes()).with_context(|| {
            format!(
                "cannot write to {}: its trials are complete; make room and resume the run with --continue",
                self.path.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Header, VERSION};

    fn line() -> Line {
        Line::Header(Box::new(Header { version: VERSION, ..Header::default() }))
    }

    /// A disk with room for some bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_said_with_the_file_and_what_to_do() {
        let mut records = Records { file: Disk(100), path: "run/records.jsonl".into() };
        let error = format!("{:#}", records.append(&line()).unwrap_err());
        assert!(error.contains("run/records.jsonl") && error.contains("--continue"), "{error}");
        assert!(error.contains("no storage space"), "{error}");
    }

    #[test]
    fn records_are_never_overwritten_and_go_on_behind_the_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        Records::create(folder.path()).unwrap().append(&line()).unwrap();
        assert!(
            format!("{:#}", Records::create(folder.path()).unwrap_err()).contains("--continue")
        );
        let path = folder.path().join(RECORDS);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{}", r#"{"trial":{"ver"#)).unwrap();
        Records::resume(folder.path()).unwrap().append(&line()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{whole}{whole}"));
        assert!(Records::resume(&folder.path().join("nothing")).is_err());
    }
}
