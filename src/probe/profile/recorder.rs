//! `perf record` as a child process that samples another process.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

/// Samples per second of CPU time. The odd number keeps them out of step with timers.
pub const FREQUENCY_HZ: u32 = 1999;

/// Bytes of the program's stack in a sample: enough for the caller of an allocation.
const STACK_BYTES: u32 = 2048;

/// Longest time that perf may take to start, and to write its file at the end.
const PATIENCE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    #[error("perf is not installed (package linux-perf, or linux-tools of your kernel)")]
    NotInstalled,
    #[error("profiles are for x86-64, whose registers and unwinding they know")]
    Processor,
    #[error("perf cannot be started: {0}")]
    Io(#[from] io::Error),
    #[error("perf did not {what} within {} s", PATIENCE.as_secs())]
    Late { what: &'static str },
    #[error(
        "perf ended with {status}: {message}; an ordinary user may sample only if \
         kernel.perf_event_paranoid is at most 2"
    )]
    Ended { status: String, message: String },
}

/// Recording of a process. A drop ends perf.
#[derive(Debug)]
pub struct Recorder {
    perf: Child,
    file: PathBuf,
    control: PathBuf,
    answers: PathBuf,
    messages: PathBuf,
}

impl Recorder {
    /// Samples process `pid` from now on, and writes `file` at the end. `launcher` is a command
    /// that runs another one, whose words follow; it pins perf to a core.
    pub fn start(mut launcher: Command, pid: u32, file: &Path) -> Result<Recorder, RecorderError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(RecorderError::Processor);
        }
        if Command::new("perf")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            return Err(RecorderError::NotInstalled);
        }
        let beside = |extension: &str| file.with_extension(extension);
        let (control, answers) = (beside("control"), beside("answers"));
        let messages = beside("messages");
        for fifo in [&control, &answers] {
            let _ = std::fs::remove_file(fifo);
            mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from)?;
        }
        let perf = launcher
            .args(["perf", "record", "--quiet", "--event", "cpu-clock", "--delay", "-1"])
            .args(["--freq", &FREQUENCY_HZ.to_string()])
            .args(["--call-graph", &format!("dwarf,{STACK_BYTES}")])
            .args(["--pid", &pid.to_string(), "--output"])
            .arg(file)
            .arg(format!("--control=fifo:{},{}", control.display(), answers.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&messages)?)
            .spawn()?;
        let mut recorder = Recorder { perf, file: file.to_owned(), control, answers, messages };
        recorder.enable()?;
        Ok(recorder)
    }

    /// Starts the sampling, and returns when perf has confirmed it.
    fn enable(&mut self) -> Result<(), RecorderError> {
        // Both ends are opened for reading and writing, so that no open waits for perf.
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        let (mut control, answers) = (open(&self.control)?, open(&self.answers)?);
        control.write_all(b"enable\n")?;
        let (sender, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(answers).read_line(&mut line);
            let _ = sender.send(read.map(|_| line));
        });
        let end = Instant::now() + PATIENCE;
        loop {
            match answer.recv_timeout(PAUSE) {
                Ok(line) => return line.map(|_| ()).map_err(RecorderError::from),
                Err(_) if self.perf.try_wait()?.is_some() => return Err(self.ended()?),
                Err(_) if Instant::now() > end => {
                    return Err(RecorderError::Late { what: "start" });
                }
                Err(_) => {}
            }
        }
    }

    /// Ends the sampling, and returns the file of the recording.
    pub fn stop(mut self) -> Result<PathBuf, RecorderError> {
        self.interrupt();
        let end = Instant::now() + PATIENCE;
        loop {
            if self.perf.try_wait()?.is_some() {
                break;
            }
            if Instant::now() > end {
                return Err(RecorderError::Late { what: "end" });
            }
            std::thread::sleep(PAUSE);
        }
        let status = self.perf.wait()?;
        // A perf that was killed, or whose disk is full, leaves a file without its end.
        let is_whole = status.success() || status.signal() == Some(Signal::SIGINT as i32);
        if is_whole { Ok(std::mem::take(&mut self.file)) } else { Err(self.ended()?) }
    }

    fn interrupt(&self) {
        let _ = kill(Pid::from_raw(self.perf.id() as i32), Signal::SIGINT);
    }

    fn ended(&mut self) -> Result<RecorderError, io::Error> {
        let status = self.perf.wait()?.to_string();
        let message = std::fs::read_to_string(&self.messages).unwrap_or_default();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(RecorderError::Ended { status, message })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Ok(None) = self.perf.try_wait() {
            let _ = self.perf.kill();
            let _ = self.perf.wait();
        }
        // The file is taken from a recording that ended well.
        for path in [&self.file, &self.control, &self.answers, &self.messages] {
            let _ = std::fs::remove_file(path);
        }
    }
}
