//! Properties of the machine, from `/proc` and `/sys`. A fact that is not reported is left empty.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sys::affinity;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub kernel: String,
    pub kernel_command_line: String,
    pub cpu_model: String,
    pub virtual_machine: bool,
    pub cores: Vec<u32>,
    pub memory_bytes: u64,
    pub mitigations: BTreeMap<String, String>,
    pub clocksource: String,
    /// Frequency governor of the server's core.
    pub governor: String,
    /// Settings of the network stack and of io_uring, by their path below `/proc/sys`.
    pub sysctl: BTreeMap<String, String>,
    pub loopback_mtu: u32,
}

const SYSCTLS: &[&str] = &[
    "net/core/somaxconn",
    "net/core/rmem_max",
    "net/core/wmem_max",
    "net/core/netdev_max_backlog",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_wmem",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_slow_start_after_idle",
    "kernel/io_uring_disabled",
    "kernel/perf_event_paranoid",
    "kernel/numa_balancing",
];

impl Host {
    pub fn read(core: usize) -> Host {
        let cpuinfo = read("/proc/cpuinfo");
        Host {
            kernel: format!(
                "{} {}",
                read("/proc/sys/kernel/osrelease"),
                read("/proc/sys/kernel/version")
            ),
            kernel_command_line: read("/proc/cmdline"),
            cpu_model: field(&cpuinfo, "model name").unwrap_or_default(),
            virtual_machine: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            cores: affinity::cores().into_iter().map(|core| core as u32).collect(),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            mitigations: mitigations(),
            clocksource: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            governor: governor(core),
            sysctl: SYSCTLS
                .iter()
                .map(|name| ((*name).to_owned(), read(Path::new("/proc/sys").join(name))))
                .filter(|(_, value)| !value.is_empty())
                .collect(),
            loopback_mtu: read("/sys/class/net/lo/mtu").parse().unwrap_or_default(),
        }
    }
}

/// Returns the frequency governor of `core`; most virtual machines have none.
pub fn governor(core: usize) -> String {
    read(format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"))
}

/// Returns the driver that sets the frequency of `core`, which decides what its governor means.
pub fn frequency_driver(core: usize) -> String {
    read(format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_driver"))
}

/// Reads a file without its line end; empty if it cannot be read.
pub(super) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

fn memory_bytes(meminfo: &str) -> u64 {
    field(meminfo, "MemTotal")
        .and_then(|value| value.trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

fn mitigations() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(entry.path())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_reports_kernel_cores_and_memory() {
        let host = Host::read(0);
        assert!(!host.kernel.trim().is_empty());
        assert!(!host.cores.is_empty());
        assert!(host.memory_bytes > 0);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t: 17\nmodel name\t: EPYC: 4\n";
        assert_eq!(field(text, "model name").as_deref(), Some("EPYC: 4"));
        assert_eq!(field(text, "name"), None);
        assert_eq!(memory_bytes("MemTotal:       2048 kB\n"), 2 * 1024 * 1024);
    }
}
