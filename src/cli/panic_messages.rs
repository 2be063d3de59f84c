//! Rust's own messages about panics, at most one for each place in the code in ten seconds.

use std::collections::HashMap;
use std::panic::{self, Location};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::alarms::LINE_INTERVAL;

/// Leaves out repeated messages from now on, in every thread.
pub(super) fn limit() {
    let write = panic::take_hook();
    let messages = Mutex::new(Messages::default());
    panic::set_hook(Box::new(move |info| {
        let is_due = |place| {
            let mut messages = messages.lock().unwrap_or_else(PoisonError::into_inner);
            messages.is_due(place, Instant::now())
        };
        if info.location().is_none_or(is_due) {
            write(info);
        }
    }));
}

/// Times of the last message by file, line and column.
#[derive(Default)]
struct Messages(HashMap<(String, u32, u32), Instant>);

impl Messages {
    /// Returns true, and notes the time, if a message about `place` may be written.
    fn is_due(&mut self, place: &Location<'_>, now: Instant) -> bool {
        let key = (place.file().to_owned(), place.line(), place.column());
        let is_due = self.0.get(&key).is_none_or(|last| now >= *last + LINE_INTERVAL);
        if is_due {
            self.0.insert(key, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_place_has_one_message_in_ten_seconds() {
        let (mut messages, start) = (Messages::default(), Instant::now());
        let (one, other) = (Location::caller(), Location::caller());
        assert!(messages.is_due(one, start));
        assert!(!messages.is_due(one, start + Duration::from_secs(9)));
        assert!(messages.is_due(other, start + Duration::from_secs(9)));
        assert!(messages.is_due(one, start + LINE_INTERVAL));
        assert!(!messages.is_due(one, start + LINE_INTERVAL + Duration::from_secs(9)));
    }
}
