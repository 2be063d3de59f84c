//! Containment of panics: one while a request is handled costs that request only.
//!
//! The handler has no state that outlives a request but scratch buffers, which each request clears,
//! so it can go on after a panic. Rust's own message with the place of the panic is on stderr.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::wire::{Refusal, Refused};

const TEXT: &str =
    "the server failed at this request; this is a fault of the server, which goes on";

thread_local! {
    static CONTAINED: Cell<u64> = const { Cell::new(0) };
}

/// Does the work of a request; a panic becomes [`Refusal::Internal`].
#[inline(always)]
pub fn contain<T>(work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(panic) => Err(failed(panic)),
    }
}

/// Returns the number of panics that [`contain`] has met on this thread.
pub fn contained() -> u64 {
    CONTAINED.get()
}

#[cold]
fn failed(panic: Box<dyn Any + Send>) -> Refused {
    // The payload is of any type, so its drop may panic as well.
    std::mem::forget(panic);
    CONTAINED.set(CONTAINED.get() + 1);
    Refused::new(Refusal::Internal, TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_refusal_and_is_counted() {
        assert_eq!(contain(|| Ok(1)), Ok(1));
        assert_eq!(contained(), 0);
        let refused = contain::<()>(|| panic!("planted by a test")).unwrap_err();
        assert_eq!((refused.kind, contained()), (Refusal::Internal, 1));
    }
}
