//! The ladder: which rungs are compared, and with which parent each is compared. Nothing runs here.

pub mod select;
pub mod table;
pub mod tree;
