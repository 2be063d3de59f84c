//! Containment of panics: one while a request is handled costs that request only.
//!
//! The handler has no state that outlives a request but scratch buffers, which each request clears,
//! so it can go on after a panic. Rust's own message with the place of the panic is on stderr; a
//! program repeats it for the same place after ten seconds only.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::wire::{Alarm, Refusal, Refused, WorkerCounts};

const TEXT: &str =
    "the server failed at this request; this is a fault of the server, which goes on";

/// WorkerCounts a request and does its work; a panic becomes [`Refusal::Internal`].
#[inline(always)]
pub fn contain<T>(
    counts: &WorkerCounts,
    work: impl FnOnce() -> Result<T, Refused>,
) -> Result<T, Refused> {
    counts.requests.add(1);
    catch(counts, work)
}

/// Does work that is a part of a request; a panic becomes [`Refusal::Internal`]. Any thread may
/// call it.
#[inline(always)]
pub fn catch<T>(
    counts: &WorkerCounts,
    work: impl FnOnce() -> Result<T, Refused>,
) -> Result<T, Refused> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(panic) => Err(failed(panic, counts)),
    }
}

#[cold]
fn failed(panic: Box<dyn Any + Send>, counts: &WorkerCounts) -> Refused {
    // The payload is of any type, so its drop may panic as well.
    std::mem::forget(panic);
    counts.alarm(Alarm::Panicked);
    Refused::new(Refusal::Internal, TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_refusal_and_is_counted() {
        let counts = WorkerCounts::default();
        let panics = || counts.alarms().find(|(alarm, _)| *alarm == Alarm::Panicked);
        assert_eq!(contain(&counts, || Ok(1)), Ok(1));
        assert_eq!(panics(), Some((Alarm::Panicked, 0)));
        let refused = contain::<()>(&counts, || panic!("planted by a test")).unwrap_err();
        assert_eq!((refused.kind, panics()), (Refusal::Internal, Some((Alarm::Panicked, 1))));
        assert_eq!(counts.requests.get(), 2);
    }
}
