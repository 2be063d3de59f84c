//! Processes of the same program that are pinned to the cores of a run.

use std::io;
use std::path::Path;

use procfs::process::all_processes;

use super::process_tree::{descendants, io_error, threads};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub program: String,
    pub pid: u32,
    pub core: usize,
}

/// Finds the processes whose executable has the name of this one, apart from this process and its
/// descendants, with a thread that may run on one of `cores` only. A process that cannot be looked
/// at is passed over.
pub fn find(cores: &[usize]) -> Vec<Neighbour> {
    let Ok(own) = std::env::current_exe() else { return Vec::new() };
    let this = std::process::id();
    let family = descendants(this).unwrap_or_default();
    let Ok(processes) = all_processes() else { return Vec::new() };
    let found = processes.flatten().filter_map(|process| {
        let pid = u32::try_from(process.pid()).ok()?;
        let program = name(&process.exe().ok()?)?;
        if pid == this || family.contains(&pid) || Some(&program) != name(&own).as_ref() {
            return None;
        }
        let core = pinned_to(pid, cores).ok()??;
        Some(Neighbour { program, pid, core })
    });
    found.collect()
}

/// Returns the file name of an executable. The kernel marks one that has been replaced.
fn name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    Some(name.trim_end_matches(" (deleted)").to_owned())
}

fn pinned_to(pid: u32, cores: &[usize]) -> io::Result<Option<usize>> {
    let only = |allowed: Vec<(u32, u32)>| match allowed.as_slice() {
        [(first, last)] if first == last => usize::try_from(*first).ok(),
        _ => None,
    };
    for thread in threads(pid)? {
        let allowed = thread.status().map_err(io_error)?.cpus_allowed_list;
        let core = allowed.and_then(only).filter(|core| cores.contains(core));
        if core.is_some() {
            return Ok(core);
        }
    }
    Ok(None)
}
