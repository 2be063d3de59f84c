//! Tests of the whole room.

mod bounds;
