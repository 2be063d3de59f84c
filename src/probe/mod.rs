//! Facts about the machine and about running processes.
//!
//! Each file measures one kind of fact and owns its struct. Nothing here changes a setting.
//!
//! | file | measures |
//! |---|---|
//! | [`host`], [`build`] | the machine; this program's build |
//! | [`cpu_clock`], [`cpu_clock_sync`] | processor time of a process; its update |
//! | [`memory`] | page faults, peak memory |
//! | [`sched_stats`] | waits and preemptions of a server's threads |
//! | [`disturbance`] | use of the machine by other programs and guests during a trial |
//! | [`os_noise`] | interruptions of an idle core |
//! | [`core_speed`] | speed of a core at the moment |
//! | [`tracer`], `breakpoints` | system calls and allocations of a traced process |

mod breakpoints;
pub mod build;
pub mod core_speed;
pub mod cpu_clock;
pub mod cpu_clock_sync;
pub mod disturbance;
mod elf;
pub mod host;
pub mod memory;
pub mod os_noise;
mod process_tree;
pub mod sched_stats;
pub mod tracer;

#[cfg(test)]
mod tests;
