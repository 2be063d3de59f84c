//! Records in, text out: a terminal table, Markdown, CSV, and the original benchmark's form.
//!
//! Nothing here runs anything or reads the machine. The same records give the same text everywhere.
//!
//! | stage | files |
//! |---|---|
//! | records to trials by cell | [`run`], `cell` |
//! | trials to rows | [`aggregate`]: `status`, `ceiling`, [`noise`], [`control`], [`scatter`] |
//! | figures over several cells | [`clients`], [`rivals`], [`model`], [`open`], [`counts`] |
//! | what further launches would give | [`forecast`] |
//! | samples to layers, and counts beside them | [`profile`], [`closure`], `kernel_counts` |
//! | call stacks for other viewers, and as a picture | [`stacks`], `palette`, `svg` |
//! | two builds or runs | [`compare`], [`comparable`], [`compare_runs`] |
//! | instructions of lanes | [`lanes`], [`lane_counts`] |
//! | the main job's questions | [`answer`] |
//! | what codings of messages cost and save | [`compression`] |
//! | facts to sentences | [`background_load`], [`warning`] |
//! | rows to text | `columns`, [`text`], `wrap`, [`table`], [`markdown`], [`csv`], [`seed`] |
//! | a run to a page | [`page`]; `markup` escapes text |

pub mod aggregate;
pub mod answer;
pub mod background_load;
mod ceiling;
mod cell;
pub mod clients;
pub mod closure;
mod columns;
pub mod comparable;
pub mod compare;
pub mod compare_runs;
pub mod compression;
pub mod control;
mod core_speed;
pub mod counts;
pub mod csv;
pub mod forecast;
mod kernel_counts;
pub mod lane_counts;
pub mod lanes;
mod malloc;
pub mod markdown;
mod markup;
pub mod model;
pub mod noise;
pub mod open;
pub mod page;
mod palette;
pub mod profile;
pub mod rivals;
pub mod run;
pub mod scatter;
pub mod seed;
mod sockets;
pub mod stacks;
mod status;
pub mod summary;
mod svg;
pub mod table;
pub mod text;
pub mod units;
pub mod warning;
mod wrap;

#[cfg(test)]
mod tests;

pub use run::Run;
