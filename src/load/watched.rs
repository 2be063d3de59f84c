//! Server of a load, whose clocks and counters are read at the edges of a window.

use crate::probe::cpu_clock::{self, CpuTime};
use crate::probe::cpu_clock_sync::CpuClockSync;
use crate::probe::kernel_counts::{KernelCounters, KernelCounts};
use crate::record::trial_spec::LoadSpec;

use super::LoadError;

#[derive(Debug)]
pub(super) struct Watched {
    pub(super) pid: u32,
    /// `None` for slices: the clock of an idle server is up to date.
    cpu_clock_sync: Option<CpuClockSync>,
    counters: Option<KernelCounters>,
    /// Counts at the start of the window.
    counted: Option<KernelCounts>,
}

impl Watched {
    pub(super) fn new(pid: u32, spec: &LoadSpec) -> Result<Watched, LoadError> {
        let what = "starting the thread that syncs the server's CPU clock";
        let sync = spec.slice_head.is_none().then(CpuClockSync::start).transpose();
        let cpu_clock_sync = sync.map_err(|source| LoadError::Io { what, source })?;
        let counters = spec.counts_kernel_events.then(|| KernelCounters::open(pid));
        let counters = counters.transpose().map_err(reading_server)?;
        Ok(Watched { pid, cpu_clock_sync, counters, counted: None })
    }

    pub(super) fn start_count(&mut self) -> Result<(), LoadError> {
        let counts = self.counters.as_ref().map(KernelCounters::read).transpose();
        self.counted = counts.map_err(reading_server)?;
        Ok(())
    }

    /// Returns what the kernel counted since the start of the window.
    pub(super) fn counted(&self) -> Result<Option<KernelCounts>, LoadError> {
        let Some((counters, before)) = self.counters.as_ref().zip(self.counted.as_ref()) else {
            return Ok(None);
        };
        Ok(Some(counters.read().map_err(reading_server)?.since(before)))
    }

    pub(super) fn cpu(&self) -> std::io::Result<CpuTime> {
        if let Some(sync) = &self.cpu_clock_sync {
            // If the sync fails, the time is up to a tick old.
            sync.sync(self.pid)?;
        }
        cpu_clock::process_cpu(self.pid)
    }
}

pub(super) fn reading_server(source: std::io::Error) -> LoadError {
    LoadError::Io { what: "reading CPU time and memory of the server's process", source }
}
