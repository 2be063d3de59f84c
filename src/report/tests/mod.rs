//! Tests of the report over records made by hand.

mod aggregate;
mod compare;
mod control;
mod status;
