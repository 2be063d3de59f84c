//! Page faults and peak memory of a process with its living descendants.

use std::io;
use std::path::Path;

use super::host::read;
use super::process_tree::{self, io_error, process};

pub fn page_faults(pid: u32) -> io::Result<u64> {
    process_tree::sum(pid, |pid| {
        let stat = process(pid)?.stat().map_err(io_error)?;
        Ok(stat.minflt + stat.majflt)
    })
}

/// Returns the memory that new programs can have without swapping; 0 if it is unknown.
pub fn available_bytes() -> u64 {
    meminfo_bytes("MemAvailable:")
}

/// Returns the memory that this process may use: that of the machine, or the least limit of its
/// control groups. Unknown limits do not count.
pub fn usable_bytes() -> u64 {
    let groups = read("/proc/self/cgroup");
    let of_group = groups.lines().filter_map(|line| group_bytes("/sys/fs/cgroup".as_ref(), line));
    let machine = Some(meminfo_bytes("MemTotal:")).filter(|bytes| *bytes > 0);
    of_group.chain(machine).min().unwrap_or(u64::MAX)
}

/// Returns the least limit of a control group and those above it; `line` is of /proc/PID/cgroup.
fn group_bytes(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, group) = (parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => (root.to_path_buf(), "memory.max"),
        "memory" => (root.join("memory"), "memory.limit_in_bytes"),
        _ => return None,
    };
    // In a container the group may be named as the host sees it, and only the root be there.
    let group = Path::new(group.trim_start_matches('/'));
    let limits = group.ancestors().map(|group| read(root.join(group).join(file)));
    limits.filter_map(|limit| limit.trim().parse().ok()).min()
}

fn meminfo_bytes(name: &str) -> u64 {
    let meminfo = read("/proc/meminfo");
    let kib = meminfo.lines().find_map(|line| line.strip_prefix(name));
    let kib = kib.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}

/// Returns the peak resident set so far: the sum of the peaks of the processes.
pub fn rss_peak_bytes(pid: u32) -> io::Result<u64> {
    process_tree::sum(pid, |pid| {
        let status = process(pid)?.status().map_err(io_error)?;
        let kib = status.vmhwm.ok_or_else(|| io::Error::other("no VmHWM in /proc/PID/status"))?;
        Ok(kib * 1024)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_the_groups_above_holds() {
        let root = std::env::temp_dir().join(format!("ndecho-groups-{}", std::process::id()));
        for (file, limit) in [
            ("memory.max", "max"),
            ("a/memory.max", "5000"),
            ("a/b/memory.max", "9000"),
            ("memory/c/memory.limit_in_bytes", "7000"),
        ] {
            let file = root.join(file);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a writable place");
            std::fs::write(file, limit).expect("a writable place");
        }
        for (line, bytes) in [
            ("0::/a/b", Some(5000)),
            ("0::/", None),
            ("0::/gone/elsewhere", None),
            ("4:memory:/c", Some(7000)),
            ("5:cpu,cpuacct:/c", None),
            ("", None),
        ] {
            assert_eq!(group_bytes(&root, line), bytes, "{line}");
        }
        std::fs::remove_dir_all(root).expect("it is there");
        assert!(usable_bytes() > 0);
    }
}
