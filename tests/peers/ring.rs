//! Whether this machine lets us have a ring, which the load generator cannot do without.

use ndecho::driver::Options;
use ndecho::driver::uring::Reactor;

/// Says so when it does not.
pub(crate) fn is_missing() -> bool {
    let error = Reactor::new(Options::default()).err();
    if let Some(error) = &error {
        eprintln!("left out: {error}");
    }
    error.is_some()
}
