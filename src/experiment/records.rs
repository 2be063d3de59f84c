//! The file of a run, which gets a line after every trial.
//!
//! An existing file is never overwritten. To resume a run, the incomplete last line that a full
//! disk or a killed process leaves is cut off, so at most one trial is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::record::{Line, TrialStacks};

pub const RECORDS: &str = "records.jsonl";

/// File with the call stacks of the profiled trials.
pub const STACKS: &str = "stacks.jsonl";

/// Bytes that must fit on the disk of the records.
const ROOM_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub struct Records<W: Write = File> {
    file: W,
    path: PathBuf,
}

impl Records {
    pub fn create(folder: &Path) -> anyhow::Result<Records> {
        create_folder(folder)?;
        check_room(folder)?;
        let path = folder.join(RECORDS);
        let file = create_new(&path).with_context(|| {
            format!(
                "cannot create {}: choose another --out; `ndecho ladder --continue` resumes a run",
                path.display()
            )
        })?;
        Ok(Records { file, path })
    }

    /// Creates the file in `folder`, or in the first of `folder-2`, `folder-3` and so on that does
    /// not exist.
    pub fn create_numbered(folder: &Path) -> anyhow::Result<Records> {
        create_folder(folder.parent().unwrap_or(Path::new(".")))?;
        let mut numbered = folder.to_owned();
        let mut number = 1_u32;
        while let Err(error) = fs::create_dir(&numbered) {
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(no_folder(&numbered, &error));
            }
            number += 1;
            numbered = PathBuf::from(format!("{}-{number}", folder.display()));
        }
        Records::create(&numbered)
    }

    pub fn folder(&self) -> &Path {
        self.path.parent().expect("the path ends with the name of the file")
    }

    /// Appends the stacks of a trial to the file of stacks, which the first one makes.
    pub fn append_stacks(&mut self, stacks: &TrialStacks) -> anyhow::Result<()> {
        self.restore()?;
        let path = self.folder().join(STACKS);
        let text = serde_json::to_string(stacks).expect("stacks are plain data") + "\n";
        let open = || OpenOptions::new().append(true).create(true).open(&path);
        open()
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write to {}; make room", path.display()))
    }

    pub fn resume(folder: &Path) -> anyhow::Result<Records> {
        check_room(folder)?;
        let path = folder.join(RECORDS);
        let open = || -> io::Result<File> {
            let text = fs::read(&path)?;
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().with_context(|| format!("cannot resume {}", path.display()))?;
        Ok(Records { file, path })
    }
}

impl Records {
    pub fn append(&mut self, line: &Line) -> anyhow::Result<()> {
        self.restore()?;
        self.write(line)
    }

    /// Makes folder and file again, with all lines so far, if someone has removed them.
    fn restore(&mut self) -> anyhow::Result<()> {
        let restored = self.file.metadata().and_then(|file| match file.nlink() {
            0 => self.copy_to_path(),
            _ => Ok(()),
        });
        let path = self.path.display();
        restored.with_context(|| format!("{path} was removed, and cannot be made again"))
    }

    fn copy_to_path(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut lines)?;
        fs::create_dir_all(self.folder())?;
        let mut file = create_new(&self.path)?;
        file.write_all(&lines)?;
        self.file = file;
        Ok(())
    }
}

/// Makes a file whose content can be read even after its removal.
fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

impl<W: Write> Records<W> {
    fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(line).expect("a record is plain data");
        text.push('\n');
        self.file.write_all(text.as_bytes()).with_context(|| {
            format!(
                "cannot write to {}: its trials are complete; make room; `ndecho ladder --continue` resumes a run",
                self.path.display()
            )
        })
    }
}

fn create_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).map_err(|error| no_folder(folder, &error))
}

fn no_folder(folder: &Path, error: &io::Error) -> anyhow::Error {
    let folder = folder.display();
    anyhow!("cannot create the folder {folder}: {error}; choose another one with --out DIR")
}

fn check_room(folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("room");
    let written = fs::write(&path, vec![0; ROOM_BYTES]);
    // A part of the file may be there after an error.
    let removed = fs::remove_file(&path);
    written.and(removed).map_err(|error| {
        anyhow!(
            "{}: no room for the records: {error}; free some space, or choose another folder with \
             --out DIR",
            folder.display()
        )
    })
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
        let error = format!("{:#}", records.write(&line()).unwrap_err());
        assert!(error.contains("run/records.jsonl") && error.contains("--continue"), "{error}");
        assert!(error.contains("no storage space"), "{error}");
    }

    #[test]
    fn a_folder_that_vanishes_is_made_again_with_all_lines() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("run");
        let mut records = Records::create(&folder).unwrap();
        for count in 1..4 {
            records.append(&line()).unwrap();
            let text = fs::read_to_string(folder.join(RECORDS)).unwrap();
            assert_eq!(text.lines().count(), count);
            fs::remove_dir_all(&folder).unwrap();
        }
        // Another run has taken the name: its file is not overwritten.
        Records::create(&folder).unwrap();
        let error = format!("{:#}", records.append(&line()).unwrap_err());
        assert!(error.contains("was removed"), "{error}");
    }

    #[test]
    fn runs_of_the_same_second_have_numbered_folders() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("runs").join("2026-01-01-000000");
        let names: Vec<String> = (0..3)
            .map(|_| {
                let records = Records::create_numbered(&folder).unwrap();
                records.folder().file_name().unwrap().to_string_lossy().into_owned()
            })
            .collect();
        assert_eq!(names, ["2026-01-01-000000", "2026-01-01-000000-2", "2026-01-01-000000-3"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_comes_with_the_flag_for_another() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inside = file.path().join("run");
        let created = [Records::create(&inside), Records::create_numbered(&inside)];
        for error in created.map(|created| created.unwrap_err().to_string()) {
            assert!(error.contains("cannot create the folder"), "{error}");
            assert!(error.ends_with("; choose another one with --out DIR"), "{error}");
        }
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
