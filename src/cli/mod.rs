//! Flags of the programs and their checks; no logic. Nothing outside this room reads arguments, and
//! `output` alone prints.

pub mod advise;
mod alarms;
pub mod compare;
pub mod exec;
pub mod external;
mod interrupt;
pub mod ladder;
mod lane_children;
mod lanes;
pub mod load;
mod measure;
pub mod ndecho;
mod old_names;
mod options;
mod output;
mod panic_messages;
mod planted_steps;
pub mod profile;
mod progress;
mod run_folder;
mod run_lanes;
pub mod server;
mod serving;
mod shell;
mod snippets;
mod spec_file;
mod stacks;
pub mod values;
