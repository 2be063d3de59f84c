//! Recording of another process: by events of our own, or by `perf record`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use super::perf_record::PerfRecord;
use super::sampler::Sampler;
use super::sampling::{FILE_BYTES_MAX, RecorderError};

/// Program that takes the samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SampledBy {
    /// This program, with periods that vary at random
    #[default]
    Own,
    /// `perf record`, with a fixed period, which can fall into step with batches of requests
    Perf,
}

/// Recording of a process. A drop ends it and removes its file.
#[derive(Debug)]
pub struct Recorder {
    way: Way,
    file: RecordingFile,
}

#[derive(Debug)]
enum Way {
    Perf(PerfRecord),
    Own(Sampler),
}

/// File of a recording, which is removed unless it was taken.
#[derive(Debug)]
struct RecordingFile(Option<PathBuf>);

impl Recorder {
    /// Samples process `pid` from now on, and writes `file` at the end. `launcher` is a command
    /// that runs another one, whose words follow; it pins perf to `core`.
    pub fn start(
        by: SampledBy,
        launcher: Command,
        core: usize,
        pid: u32,
        file: &Path,
    ) -> Result<Recorder, RecorderError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(RecorderError::Processor);
        }
        let recording = RecordingFile(Some(file.to_owned()));
        let way = match by {
            SampledBy::Perf => Way::Perf(PerfRecord::start(launcher, pid, file, FILE_BYTES_MAX)?),
            SampledBy::Own => {
                let sampler = Sampler::start(pid, core, file, FILE_BYTES_MAX);
                Way::Own(sampler.map_err(RecorderError::Events)?)
            }
        };
        Ok(Recorder { way, file: recording })
    }

    /// Ends the sampling, and returns the file of the recording.
    pub fn stop(mut self) -> Result<PathBuf, RecorderError> {
        let is_full = match self.way {
            Way::Perf(perf) => perf.stop()?,
            Way::Own(sampler) => sampler.stop().map_err(RecorderError::Samples)?,
        };
        if is_full {
            return Err(RecorderError::Full);
        }
        Ok(self.file.0.take().expect("nothing else takes it"))
    }
}

impl Drop for RecordingFile {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            let _ = std::fs::remove_file(file);
        }
    }
}
