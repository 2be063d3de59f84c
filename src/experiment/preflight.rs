//! Checks before the first launch, so that no rung is blamed for a fault of this machine.
//!
//! Each finding is one line that names the remedy. A fatal one means that nothing can be measured;
//! any other limits the figures, and the run goes on. Rungs that this machine cannot serve are
//! skipped.

use crate::axis::Driver;
use crate::driver::DriverError;
use crate::driver::uring::ring::Ring;
use crate::probe::neighbours::{self, Neighbour};
use crate::probe::{host, memory};
use crate::record::Variant;
use crate::record::trial_spec::ClientIo;
use crate::sys::descriptors;

use super::any_rung::AnyRung;
use super::cell::Cell;
use super::group::{self, Group};
use super::null_server;
use super::plan::Plan;
use super::testbed::Testbed;

/// Descriptors of a process without connections and children: standard streams, rings, listeners,
/// and the files that a start opens for a moment.
const USUAL_DESCRIPTORS: u64 = 32;

/// Pipes to a server and to its load generator.
const MEMBER_DESCRIPTORS: u64 = 5;

/// Governors that keep a core below its highest frequency.
const SAVING_GOVERNORS: [&str; 2] = ["powersave", "conservative"];

/// Drivers in active mode. The processor chooses the frequency by its load, and `powersave` is only
/// the name of the default (Documentation/admin-guide/pm, intel_pstate and amd-pstate).
const ACTIVE_DRIVERS: [&str; 2] = ["intel_pstate", "amd-pstate-epp"];

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub fatal: Vec<String>,
    pub warnings: Vec<String>,
}

/// Checks this machine for `plan`. Raises the soft limit of descriptors if the plan needs it.
pub fn check(testbed: &Testbed, plan: &mut Plan) -> Findings {
    let mut findings = Findings::default();
    findings.warnings.extend(shared_core(testbed));
    findings.warnings.extend(debug_build());
    let free_bytes = memory::available_bytes();
    let groups = group::groups(plan, free_bytes);
    let need = descriptors_needed(plan, &groups);
    match descriptors::raise_to(need) {
        Ok(()) => findings.check_rings(rings_needed(plan, &groups), plan),
        Err(limit) => findings.fatal.push(too_few_descriptors(need, limit)),
    }
    let cores = [testbed.cpu_server, testbed.cpu_client];
    findings.warnings.extend(neighbours::find(&cores).iter().map(neighbour));
    findings.warnings.extend(too_little_memory(plan, free_bytes));
    let core = testbed.cpu_server;
    let (governor, driver) = (host::governor(core), host::frequency_driver(core));
    findings.warnings.extend(saving_governor(core, &governor, &driver));
    findings
}

fn shared_core(testbed: &Testbed) -> Option<String> {
    testbed.shares_core().then(|| {
        "server and load generator share a core and take turns on it, so rates and latencies are \
         not shown; CPU per request is still that of the server alone; run on two cores to see all"
            .to_owned()
    })
}

fn debug_build() -> Option<String> {
    cfg!(debug_assertions)
        .then(|| "this is a debug build, whose figures mean nothing; use --release".to_owned())
}

impl Findings {
    /// Opens as many rings as a launch has at the same time: their memory counts for the user and
    /// not for a process.
    fn check_rings(&mut self, need: usize, plan: &mut Plan) {
        let mut rings = Vec::new();
        while rings.len() < need {
            match Ring::open() {
                Ok(ring) => rings.push(ring),
                Err(error) if rings.is_empty() => return self.skip_rungs_on_rings(&error, plan),
                Err(error) => {
                    let some = rings.len();
                    self.fatal.push(format!(
                        "a launch needs {need} rings at the same time, and this user can have \
                         {some}: {error}"
                    ));
                    break;
                }
            }
        }
        plan.knobs.io = Some(ClientIo::Ring);
    }

    /// Skips the rungs that need a ring. The load generator and null servers do without one.
    fn skip_rungs_on_rings(&mut self, error: &DriverError, plan: &mut Plan) {
        plan.knobs.io = Some(ClientIo::Poll);
        null_server::move_to_epoll(&mut plan.cells);
        let mut skipped = 0;
        for cell in plan.cells.iter_mut().filter(|cell| cell.skip.is_none()) {
            if needs_ring(cell) {
                cell.skip = Some("io_uring is not available".to_owned());
                skipped += 1;
            }
        }
        let is_tried = |cell: &Cell| cell.skip.is_none() && cell.variant != Variant::Null;
        if !plan.cells.iter().any(is_tried) {
            self.fatal.push(format!(
                "{error}; all chosen rungs need it: choose others with --rungs 'tokio/*'"
            ));
        } else {
            self.warnings.push(format!(
                "{error}; {skipped} cells on io_uring are skipped, and the load generator runs on \
                 poll(2)"
            ));
        }
    }
}

fn needs_ring(cell: &Cell) -> bool {
    matches!(&cell.rung, AnyRung::Own(rung) if rung.driver() != Driver::Tokio)
}

/// Returns the most rings that a launch has open at a time: one for each load generator, and one
/// for each server on a ring. The conformance check needs one in any case.
fn rings_needed(plan: &Plan, groups: &[Group]) -> usize {
    let servers =
        |group: &Group| group.cells.iter().filter(|index| needs_ring(&plan.cells[**index])).count();
    groups.iter().map(|group| group.cells.len() + servers(group)).max().unwrap_or(0).max(1)
}

/// Returns the most descriptors that a process of the run has open at a time.
fn descriptors_needed(plan: &Plan, groups: &[Group]) -> u64 {
    let connections = plan.cells.iter().map(|cell| u64::from(cell.concurrency.connections));
    let members = groups.iter().map(|group| group.cells.len() as u64 * MEMBER_DESCRIPTORS);
    USUAL_DESCRIPTORS + connections.chain(members).max().unwrap_or(0)
}

fn too_few_descriptors(need: u64, limit: u64) -> String {
    format!(
        "a process of this run opens up to {need} files, and the limit is {limit}: raise it with \
         `ulimit -n {need}`"
    )
}

fn neighbour(neighbour: &Neighbour) -> String {
    let Neighbour { program, pid, core } = neighbour;
    format!(
        "another {program} (process {pid}) runs on core {core}, so the figures of both are \
         disturbed: wait for its end, or choose other cores with --cpu-server and --cpu-client"
    )
}

fn too_little_memory(plan: &Plan, free_bytes: u64) -> Option<String> {
    let tried = plan.cells.iter().filter(|cell| cell.skip.is_none());
    let (need, cell) = tried
        .map(|cell: &Cell| (group::memory_bytes(cell), cell))
        .max_by_key(|(need, _)| *need)
        .filter(|(need, _)| free_bytes > 0 && *need > free_bytes)?;
    Some(format!(
        "{cell} needs about {} MiB of memory, and {} MiB are free: send a smaller array, or keep \
         fewer requests in flight",
        need >> 20,
        free_bytes >> 20
    ))
}

fn saving_governor(core: usize, governor: &str, driver: &str) -> Option<String> {
    let is_saving = SAVING_GOVERNORS.contains(&governor) && !ACTIVE_DRIVERS.contains(&driver);
    is_saving.then(|| {
        format!(
            "core {core} has the frequency governor {governor}, which keeps it slow: choose \
             another with `cpupower frequency-set -g performance`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;

    fn plan() -> Plan {
        let options = RunOptions {
            rungs: Some("uring/h2/protobuf,tokio/axum/npy".into()),
            sizes: Some(vec![8]),
            ..RunOptions::new(Preset::Quick)
        };
        options.plan().unwrap()
    }

    #[test]
    fn without_a_ring_the_rungs_that_need_one_are_skipped_in_one_line() {
        let (cause, advice) = ("Operation not permitted".to_owned(), "allow it");
        let error = DriverError::Unavailable { cause, advice };
        let (mut findings, mut plan) = (Findings::default(), plan());
        findings.skip_rungs_on_rings(&error, &mut plan);
        assert_eq!((findings.fatal.len(), findings.warnings.len()), (0, 1), "{findings:?}");
        let line = &findings.warnings[0];
        assert!(line.contains("Operation not permitted; allow it;"), "{line}");
        assert!(line.contains("are skipped, and the load generator runs on poll(2)"), "{line}");
        for cell in &plan.cells {
            assert_eq!(cell.skip.is_some(), cell.rung.to_string().starts_with("uring"), "{cell}");
        }
        let is_null = |cell: &&Cell| cell.variant == Variant::Null;
        let nulls: Vec<String> = plan.cells.iter().filter(is_null).map(Cell::to_string).collect();
        assert_eq!(nulls, ["tokio/h2/protobuf 8 B 1x1000 null", "tokio/h1/npy 8 B 50x1 null"]);
        let axum = plan.cells.iter().find(|cell| cell.rung.to_string() == "tokio/axum/npy");
        let null = axum.and_then(|cell| cell.null).map(|rung| rung.to_string());
        assert_eq!(null.as_deref(), Some("tokio/h1/npy"), "its ceiling is known");
        assert_eq!(plan.knobs.io, Some(ClientIo::Poll));
        plan.cells.retain(|cell| cell.skip.is_some());
        let mut findings = Findings::default();
        findings.skip_rungs_on_rings(&error, &mut plan);
        assert!(findings.fatal[0].contains("--rungs 'tokio/*'"), "{findings:?}");
    }

    #[test]
    fn servers_on_rings_and_load_generators_have_a_ring_each() {
        let plan = plan();
        let is_sliced = |cell: &&Cell| cell.is_sliced();
        let all = plan.cells.iter().filter(is_sliced).count();
        let group = Group { cells: (0..all).collect(), is_sliced: true, part: 0 };
        let on_rings = plan.cells.iter().filter(is_sliced).filter(|cell| needs_ring(cell)).count();
        assert!(on_rings > 0 && on_rings < all);
        assert_eq!(rings_needed(&plan, &[group]), all + on_rings);
        assert_eq!(rings_needed(&plan, &[]), 1);
    }

    #[test]
    fn descriptors_are_needed_for_connections_and_for_children() {
        let plan = plan();
        let one = [Group { cells: vec![0], is_sliced: true, part: 0 }];
        assert_eq!(descriptors_needed(&plan, &one), USUAL_DESCRIPTORS + 50);
        let many = [Group { cells: vec![0; 30], is_sliced: true, part: 0 }];
        assert_eq!(descriptors_needed(&plan, &many), USUAL_DESCRIPTORS + 150);
        let line = too_few_descriptors(82, 20);
        assert!(line.contains("the limit is 20") && line.contains("`ulimit -n 82`"), "{line}");
    }

    #[test]
    fn a_cell_that_does_not_fit_into_memory_is_named() {
        let plan = plan();
        assert_eq!(too_little_memory(&plan, 64 << 30), None);
        assert_eq!(too_little_memory(&plan, 0), None, "unknown");
        let line = too_little_memory(&plan, 40 << 20).unwrap();
        assert!(line.contains("40 MiB are free") && line.contains("fewer requests"), "{line}");
    }

    #[test]
    fn only_a_saving_governor_is_named() {
        for driver in ["acpi-cpufreq", "intel_cpufreq", "amd-pstate", ""] {
            assert!(saving_governor(3, "powersave", driver).unwrap().contains("core 3"));
            for fine in ["performance", "schedutil", ""] {
                assert_eq!(saving_governor(3, fine, driver), None, "{fine}");
            }
        }
        for active in ["intel_pstate", "amd-pstate-epp"] {
            assert_eq!(saving_governor(3, "powersave", active), None, "{active}");
        }
    }
}
