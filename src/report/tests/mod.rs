//! Tests of the report over records made by hand.

mod advice;
mod aggregate;
mod answer;
mod closure;
mod compare;
mod control;
mod picture;
mod profile;
mod status;
