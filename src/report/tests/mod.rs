//! Tests of the report over records made by hand.

mod advice;
mod aggregate;
pub(super) mod answer;
mod closure;
mod compare;
mod compression;
mod control;
mod lanes;
mod page;
mod picture;
mod planted;
pub(super) mod profile;
mod status;
