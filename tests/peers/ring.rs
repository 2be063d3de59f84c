//! Check for io_uring, which the load generator needs.

use ndecho::driver::Options;
use ndecho::driver::uring::Reactor;

/// Returns true and prints a message if the machine has no io_uring.
pub(crate) fn is_missing() -> bool {
    let error = Reactor::new(Options::default()).err();
    if let Some(error) = &error {
        eprintln!("left out: {error}");
    }
    error.is_some()
}
