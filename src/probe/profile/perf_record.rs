//! `perf record` as a child process that samples another process.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use super::sampling::{FREQUENCY_HZ, PATIENCE, RecorderError, stack_bytes};

const PAUSE: Duration = Duration::from_millis(2);

/// Recording of a process. A drop ends perf.
#[derive(Debug)]
pub(super) struct PerfRecord {
    perf: Child,
    file: PathBuf,
    bytes_max: u64,
    control: PathBuf,
    answers: PathBuf,
    messages: PathBuf,
}

impl PerfRecord {
    /// Starts perf, which ends by itself when the file has `bytes_max`.
    pub(super) fn start(
        mut launcher: Command,
        pid: u32,
        file: &Path,
        bytes_max: u64,
    ) -> Result<PerfRecord, RecorderError> {
        let file = std::path::absolute(file)?;
        let beside = |extension: &str| file.with_extension(extension);
        let (control, answers) = (beside("control"), beside("answers"));
        let messages = beside("messages");
        for fifo in [&control, &answers] {
            let _ = std::fs::remove_file(fifo);
            mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from)?;
        }
        // Paths are relative to the folder, since a comma in one would end it for perf.
        let mut fifos = OsString::from("--control=fifo:");
        fifos.push(control.file_name().unwrap_or_default());
        fifos.push(",");
        fifos.push(answers.file_name().unwrap_or_default());
        let perf = launcher
            .args(["perf", "record", "--quiet", "--event", "cpu-clock", "--delay", "-1"])
            .args(["--freq", &FREQUENCY_HZ.to_string()])
            .args(["--call-graph", &format!("dwarf,{}", stack_bytes(pid))])
            .arg(format!("--max-size={bytes_max}B"))
            .args(["--pid", &pid.to_string(), "--output"])
            .arg(file.file_name().unwrap_or_default())
            .arg(fifos)
            .current_dir(file.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&messages)?)
            .spawn()?;
        let mut recorder = PerfRecord { perf, file, bytes_max, control, answers, messages };
        recorder.enable()?;
        Ok(recorder)
    }

    /// Starts the sampling, and returns when perf has confirmed it.
    fn enable(&mut self) -> Result<(), RecorderError> {
        // Both ends are opened for reading and writing, so that no open waits for perf.
        let mut fifo = OpenOptions::new();
        fifo.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let (mut control, mut answers) = (fifo.open(&self.control)?, fifo.open(&self.answers)?);
        control.write_all(b"enable\n")?;
        let end = Instant::now() + PATIENCE;
        let mut answer = [0; 64];
        loop {
            match answers.read(&mut answer) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
                Err(_) if self.perf.try_wait()?.is_some() => return Err(self.ended()?),
                Err(_) if Instant::now() > end => {
                    return Err(RecorderError::Late { what: "start" });
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Ends the sampling. Returns true if the file was full before.
    pub(super) fn stop(mut self) -> Result<bool, RecorderError> {
        let _ = kill(Pid::from_raw(self.perf.id() as i32), Signal::SIGINT);
        let end = Instant::now() + PATIENCE;
        while self.perf.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err(RecorderError::Late { what: "end" });
            }
            std::thread::sleep(PAUSE);
        }
        let status = self.perf.wait()?;
        // A perf that was killed, or whose disk is full, leaves a file without its end.
        let is_whole = status.success() || status.signal() == Some(Signal::SIGINT as i32);
        if !is_whole {
            return Err(self.ended()?);
        }
        let bytes = std::fs::metadata(&self.file)?.len();
        Ok(bytes >= self.bytes_max)
    }

    fn ended(&mut self) -> Result<RecorderError, io::Error> {
        let status = self.perf.wait()?.to_string();
        let message = std::fs::read_to_string(&self.messages).unwrap_or_default();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(RecorderError::Ended { status, message })
    }
}

impl Drop for PerfRecord {
    fn drop(&mut self) {
        if let Ok(None) = self.perf.try_wait() {
            let _ = self.perf.kill();
            let _ = self.perf.wait();
        }
        for path in [&self.control, &self.answers, &self.messages] {
            let _ = std::fs::remove_file(path);
        }
    }
}
