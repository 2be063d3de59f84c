//! Bugs that the simulation must find, each at its place in the code behind [`is_planted`].
//!
//! One bug is planted at a time, by a unit test and on its thread. In every other build the answer
//! is the constant `false`, so nothing of a bug is left.

/// Declares the bugs, with a list of them for the tests.
macro_rules! bugs {
    ($($(#[$doc:meta])* $Bug:ident,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum PlantedBug {
            $($(#[$doc])* $Bug,)+
        }

        #[cfg(test)]
        impl PlantedBug {
            pub(super) const ALL: &[PlantedBug] = &[$(PlantedBug::$Bug),+];
        }
    };
}

bugs! {
    /// At a cancel, the buffer of a receive goes to the pool while the kernel may write.
    LoanPooledAtCancel,
    LoanFreedAtCancel,
    /// A key finds the later tenant of its place.
    GenerationIgnored,
    ClosedInFlight,
    /// Completions of a closed connection reach the next tenant of its place.
    ClosedInFlightAndReused,
    SentTwice,
    /// A send with an error is concluded as well.
    ConcludedTwice,
    /// A send is concluded before the kernel has taken it.
    ConcludedUntaken,
    /// A send is concluded while its error may be in the kernel's own list.
    ConcludedInOverflow,
    FailedSendCounts,
    MultishotEndIgnored,
    BufferRecycledEarly,
    BufferKeptAtClose,
    AcceptNotRepeated,
    NoBufferIsFatal,
    DropDoesNotWait,
    ConnectionLimitIgnored,
    /// A list of slices is used again while the kernel may read it.
    SlicesReused,
    DeadlinesNotArmed,
    StallNotArmed,
    /// An operation that the kernel has refused is lost.
    EntryLost,
    DeadlineKeptAtClose,
    /// A cancel that has missed its target is not repeated.
    CancelNotRepeated,
    /// A cancel that was refused counts as one that works.
    RefusalIgnored,
    BacklogForgotten,
    /// A connection that gets a place has to wait for the next event.
    AdmittedUnsettled,
    /// The bell is watched for the first job only.
    BellForgotten,
    /// The first job is told of, and no other one that ended before the bell was heard.
    JobEndsLost,
    /// The worker sleeps although a send without a completion is waited for.
    HurryForgotten,
    /// The worker sleeps although a task has input left that it may take in the next turn.
    DeferredForgotten,
}

#[cfg(not(test))]
#[inline(always)]
pub(super) const fn is_planted(_bug: PlantedBug) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<PlantedBug>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(super) fn is_planted(bug: PlantedBug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Plants a bug on this thread, or none.
#[cfg(test)]
pub(super) fn plant(bug: Option<PlantedBug>) {
    PLANTED.set(bug);
}
