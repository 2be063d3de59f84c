//! SIGINT and SIGTERM during a run: the first asks it to stop, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::output::{Failure, status_of};

pub(super) struct Interrupt {
    stop: Arc<AtomicBool>,
    /// Number of the last signal; 0 before the first.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    pub(super) fn watch() -> anyhow::Result<Interrupt> {
        let interrupt = Interrupt { stop: Arc::default(), signal: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            let number = number(signal);
            let Interrupt { stop, signal: last } = &interrupt;
            // The first signal finds the flag down, and the next line raises it.
            let status = status_of(number).into();
            flag::register_conditional_shutdown(signal, status, Arc::clone(stop))?;
            flag::register_usize(signal, Arc::clone(last), number.into())?;
            flag::register(signal, Arc::clone(stop))?;
        }
        Ok(interrupt)
    }

    /// Returns the flag that the first signal raises.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.stop
    }

    /// Attributes a failure to the signal that stopped the run, if there was one.
    pub(super) fn attribute<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        match u8::try_from(self.signal.load(Ordering::Relaxed)) {
            Ok(signal @ 1..) => result.map_err(|failure| failure.stopped_by(signal)),
            _ => result,
        }
    }
}

pub(super) fn number(signal: i32) -> u8 {
    u8::try_from(signal).expect("signals are numbered from 1 to 64")
}
