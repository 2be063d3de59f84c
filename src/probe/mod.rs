//! Facts about the machine and about running processes.
//!
//! Each file measures one kind of fact and owns its struct. Nothing here changes a setting.

pub mod background_load;
mod breakpoints;
pub mod build;
pub mod core_speed;
pub mod cpu_clock;
pub mod cpu_clock_sync;
pub mod disturbance;
mod elf;
pub mod host;
pub mod injected_delay;
pub mod kernel_counts;
pub mod memory;
pub mod neighbours;
pub mod os_noise;
mod process_tree;
pub mod process_use;
pub mod profile;
pub mod sched_stats;
pub mod tracer;

#[cfg(test)]
mod tests;
