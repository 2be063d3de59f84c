//! Background load: the processor time that other programs and guests take before a run.
//!
//! Two short watches, one after the other. In the first one this process sleeps: `/proc/stat` tells
//! how busy each core is, and `/proc/PID/stat` which process keeps it busy. In the second one it
//! keeps both cores of the run busy, since the hypervisor steals time only from a core that wants
//! to run. The kernel counts in ticks of 10 ms. A process that ends during the first watch is part
//! of the sums and has no entry of its own.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cpu_clock::tick_ns;
use super::disturbance::Ticks;
use super::host::read;
use super::{os_noise, process_tree};

/// Use of a core by other programs, as a share of its time, up to which a machine is quiet. An idle
/// virtual machine with a few daemons used 0.00 to 0.03 (2026-11-30).
pub const BUSY_MAX: f64 = 0.05;

/// Share of a core that other guests may take: two ticks of the second watch.
pub const STOLEN_MAX: f64 = 0.05;

const IDLE_TIME: Duration = Duration::from_millis(800);
const SPIN_TIME: Duration = Duration::from_millis(400);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackgroundLoad {
    /// Length of the watch in which this process slept.
    pub watched_ns: u64,
    /// Time in which the core was not idle.
    pub server_core_ns: u64,
    pub client_core_ns: u64,
    /// Sum over all cores of the machine.
    pub all_cores_ns: u64,
    /// Cores of the machine that the run leaves to other programs.
    pub spare_cores: u32,
    /// Process that used the most time, of those on the cores of the run if there are any.
    pub busiest: Option<BusyProcess>,
    /// Length of the watch in which this process kept its cores busy.
    pub spun_ns: u64,
    /// Time that the hypervisor gave to other guests, on the core that lost more.
    pub stolen_ns: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusyProcess {
    pub name: String,
    pub pid: u32,
    pub cpu_ns: u64,
}

/// Watches the cores of a run for about a second; `None` if the kernel tells nothing about them.
pub fn watch(cpu_server: usize, cpu_client: usize) -> Option<BackgroundLoad> {
    let cores = [cpu_server, cpu_client];
    let idle = Idle::watch(cores);
    let (spun_ns, stolen_ns) = stolen(cores);
    let [server_core_ns, client_core_ns] = cores.map(|core| idle.cores.get(&core).copied());
    let used = if cpu_server == cpu_client { 1 } else { 2 };
    Some(BackgroundLoad {
        watched_ns: idle.watched_ns,
        server_core_ns: server_core_ns?,
        client_core_ns: client_core_ns?,
        all_cores_ns: idle.cores.values().sum(),
        spare_cores: idle.cores.len().saturating_sub(used) as u32,
        busiest: idle.busiest,
        spun_ns,
        stolen_ns,
    })
}

impl BackgroundLoad {
    /// Returns true if the processes of a run will have to wait for other programs: one of its
    /// cores is in use, or the other cores have no room for the rest of the machine's work.
    pub fn is_busy(&self) -> bool {
        let on_cores = self.share(self.server_core_ns.max(self.client_core_ns));
        let overflow = self.share(self.all_cores_ns) - f64::from(self.spare_cores);
        on_cores.max(overflow) > BUSY_MAX
    }

    /// Returns the share of a core that other guests take, if it is more than [`STOLEN_MAX`].
    pub fn stolen_share(&self) -> Option<f64> {
        let share = self.stolen_ns as f64 / self.spun_ns.max(1) as f64;
        (share > STOLEN_MAX).then_some(share)
    }

    /// Returns `cpu_ns` of the first watch as a share of one core.
    pub fn share(&self, cpu_ns: u64) -> f64 {
        cpu_ns as f64 / self.watched_ns.max(1) as f64
    }
}

/// Result of the first watch.
struct Idle {
    watched_ns: u64,
    /// Time in which each core was not idle.
    cores: BTreeMap<usize, u64>,
    busiest: Option<BusyProcess>,
}

impl Idle {
    fn watch(cores: [usize; 2]) -> Idle {
        // The counts of the cores are read last and first, so they leave out this program.
        let processes = Processes::read();
        let (before, begun) = (ticks(), Instant::now());
        thread::sleep(IDLE_TIME);
        let (after, watched) = (ticks(), begun.elapsed());
        let mut users = Processes::read().since(&processes);
        users.sort_by_key(|user| std::cmp::Reverse(user.cpu_ns));
        let busy_ns = |(core, now): (&usize, &Ticks)| {
            let then = before.get(core).copied().unwrap_or(*now);
            (*core, now.busy.saturating_sub(then.busy) * tick_ns())
        };
        Idle {
            watched_ns: watched.as_nanos() as u64,
            cores: after.iter().map(busy_ns).collect(),
            busiest: busiest(users, cores),
        }
    }
}

/// Chooses from `users`, the busiest first, the first one that runs on one of `cores`.
fn busiest(mut users: Vec<BusyProcess>, cores: [usize; 2]) -> Option<BusyProcess> {
    let least_ns = IDLE_TIME.as_nanos() as f64 * BUSY_MAX;
    let is_there = |user: &BusyProcess| {
        let runs_on = process_tree::cores(user.pid).unwrap_or_default();
        user.cpu_ns as f64 > least_ns && cores.iter().any(|core| runs_on.contains(core))
    };
    match users.iter().position(is_there) {
        Some(index) => Some(users.swap_remove(index)),
        None => users.into_iter().next(),
    }
}

/// Returns how long both cores were kept busy, and the stolen time of the core that lost more.
fn stolen(cores: [usize; 2]) -> (u64, u64) {
    let (before, begun) = (ticks(), Instant::now());
    thread::scope(|scope| {
        for core in cores {
            scope.spawn(move || os_noise::measure(core, SPIN_TIME));
        }
    });
    let (after, spun) = (ticks(), begun.elapsed());
    let stolen = |core: usize| {
        let (now, then) = (after.get(&core)?, before.get(&core)?);
        Some(now.stolen.saturating_sub(then.stolen) * tick_ns())
    };
    (spun.as_nanos() as u64, cores.into_iter().filter_map(stolen).max().unwrap_or(0))
}

fn ticks() -> BTreeMap<usize, Ticks> {
    Ticks::parse_cores(&read("/proc/stat"))
}

/// Name and processor time, in ticks, of every process but this one.
struct Processes(BTreeMap<u32, (String, u64)>);

impl Processes {
    /// Reads the processes that this user can see; those that end meanwhile are left out.
    fn read() -> Processes {
        let own = std::process::id();
        let all = procfs::process::all_processes().into_iter().flatten().flatten();
        let entry = |process: procfs::process::Process| {
            let stat = process.stat().ok()?;
            let pid = u32::try_from(stat.pid).ok()?;
            // A process may give itself any name, and the name goes to a terminal.
            let name = stat.comm.escape_debug().to_string();
            (pid != own).then_some((pid, (name, stat.utime + stat.stime)))
        };
        Processes(all.filter_map(entry).collect())
    }

    /// Returns the use since `before`. A new process counts from zero.
    fn since(self, before: &Processes) -> Vec<BusyProcess> {
        let used = |(pid, (name, ticks)): (u32, (String, u64))| {
            let then = before.0.get(&pid).map_or(0, |(_, ticks)| *ticks);
            BusyProcess { name, pid, cpu_ns: ticks.saturating_sub(then) * tick_ns() }
        };
        self.0.into_iter().map(used).filter(|user| user.cpu_ns > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::affinity;

    /// A load in shares of a core: of the server's, of the client's, and of all cores together.
    fn load(server: f64, client: f64, all: f64, spare_cores: u32) -> BackgroundLoad {
        let ns = |share: f64| (share * 1e9) as u64;
        BackgroundLoad {
            watched_ns: ns(1.0),
            server_core_ns: ns(server),
            client_core_ns: ns(client),
            all_cores_ns: ns(all),
            spare_cores,
            ..BackgroundLoad::default()
        }
    }

    #[test]
    fn a_machine_is_busy_if_a_core_of_the_run_is_or_the_others_are_full() {
        for (load, want) in [
            (load(0.01, 0.02, 0.03, 0), false),
            (load(0.0, 0.06, 0.06, 0), true),
            (load(0.5, 0.0, 0.5, 62), true),
            (load(0.01, 0.0, 40.0, 62), false),
            (load(0.03, 0.03, 2.06, 2), true),
        ] {
            assert_eq!(load.is_busy(), want, "{load:?}");
        }
    }

    #[test]
    fn stolen_time_counts_above_its_limit() {
        let stolen =
            |stolen_ns| BackgroundLoad { spun_ns: 1000, stolen_ns, ..BackgroundLoad::default() };
        assert_eq!(stolen(50).stolen_share(), None);
        assert_eq!(stolen(60).stolen_share(), Some(0.06));
        assert_eq!(BackgroundLoad::default().stolen_share(), None);
    }

    #[test]
    fn the_use_of_a_process_is_what_it_added() {
        let processes = |all: &[(u32, u64)]| {
            Processes(all.iter().map(|&(pid, ticks)| (pid, ("x".to_owned(), ticks))).collect())
        };
        let used = processes(&[(1, 7), (3, 50), (4, 5)]).since(&processes(&[(1, 7), (3, 20)]));
        let used: Vec<(u32, u64)> = used.iter().map(|user| (user.pid, user.cpu_ns)).collect();
        assert_eq!(used, [(3, 30 * tick_ns()), (4, 5 * tick_ns())]);
    }

    #[test]
    fn the_cores_of_this_process_can_be_watched() {
        let core = *affinity::cores().first().expect("a thread runs somewhere");
        let load = watch(core, core).expect("Linux counts ticks");
        assert!(load.watched_ns >= IDLE_TIME.as_nanos() as u64, "{load:?}");
        assert!(load.all_cores_ns >= load.server_core_ns, "{load:?}");
        assert_eq!(load.server_core_ns, load.client_core_ns);
        assert_eq!(watch(core, usize::MAX), None);
    }
}
