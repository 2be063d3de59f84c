//! Tests of the choice of a level, and means to test kernels.

use super::*;

pub(crate) mod guard_pages;

#[test]
fn the_best_level_is_one_that_the_processor_has() {
    assert_eq!(Isa::all().next(), Some(Isa::Portable));
    assert!(Isa::all().any(|isa| isa == Isa::best()));
    assert!(Level::all().all(|level| level.isa().is_some()));
}
