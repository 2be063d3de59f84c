//! Use of the machine by other programs and guests during a trial, from the kernel's counters.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::cpu_clock::tick_ns;
use super::host::read;

/// Use of all processors during a trial. The kernel counts `stolen_ns` and `busy_ns` in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbance {
    pub wall_ns: u64,
    /// Time in which a ready task of any program had no processor (`/proc/pressure/cpu`).
    pub waited_ns: u64,
    /// Time that the hypervisor gave to other guests, summed over all cores.
    pub stolen_ns: u64,
    /// Time in which a core was not idle, summed over all cores.
    #[serde(default)]
    pub busy_ns: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct MachineSnapshot {
    taken_at: Instant,
    waited_us: u64,
    ticks: Ticks,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    pub(super) busy: u64,
    pub(super) stolen: u64,
}

impl Disturbance {
    pub fn plus(self, other: Option<Disturbance>) -> Disturbance {
        let other = other.unwrap_or_default();
        Disturbance {
            wall_ns: self.wall_ns + other.wall_ns,
            waited_ns: self.waited_ns + other.waited_ns,
            stolen_ns: self.stolen_ns + other.stolen_ns,
            busy_ns: self.busy_ns + other.busy_ns,
        }
    }
}

impl MachineSnapshot {
    /// Reads the counters; `None` on a kernel without pressure stall information (`psi=0`).
    pub fn read() -> Option<MachineSnapshot> {
        Some(MachineSnapshot {
            taken_at: Instant::now(),
            waited_us: waited_us(&read("/proc/pressure/cpu"))?,
            ticks: Ticks::parse(&read("/proc/stat")),
        })
    }

    pub fn until_now(self) -> Option<Disturbance> {
        let now = MachineSnapshot::read()?;
        Some(Disturbance {
            wall_ns: (now.taken_at - self.taken_at).as_nanos() as u64,
            waited_ns: now.waited_us.saturating_sub(self.waited_us) * 1000,
            stolen_ns: now.ticks.stolen.saturating_sub(self.ticks.stolen) * tick_ns(),
            busy_ns: now.ticks.busy.saturating_sub(self.ticks.busy) * tick_ns(),
        })
    }
}

fn waited_us(pressure: &str) -> Option<u64> {
    let some = pressure.lines().find(|line| line.starts_with("some "))?;
    some.split(' ').find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

impl Ticks {
    /// Parses the `cpu` line, the sum over all cores.
    fn parse(stat: &str) -> Ticks {
        let all = stat.lines().find_map(|line| line.strip_prefix("cpu "));
        all.and_then(Ticks::parse_counts).unwrap_or_default()
    }

    /// Parses the line of each core.
    pub(super) fn parse_cores(stat: &str) -> BTreeMap<usize, Ticks> {
        let core = |line: &str| {
            let (number, counts) = line.strip_prefix("cpu")?.split_once(' ')?;
            Some((number.parse().ok()?, Ticks::parse_counts(counts)?))
        };
        stat.lines().filter_map(core).collect()
    }

    /// Parses user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse_counts(counts: &str) -> Option<Ticks> {
        let counts: Vec<u64> =
            counts.split_whitespace().map_while(|count| count.parse().ok()).take(8).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, stolen] = counts[..] else {
            return None;
        };
        Some(Ticks { busy: user + nice + system + irq + softirq, stolen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_and_stealing_are_read_from_their_columns() {
        let pressure = "some avg10=1.00 avg60=0.50 avg300=0.10 total=1234\nfull avg10=0 total=9\n";
        assert_eq!(waited_us(pressure), Some(1234));
        assert_eq!(waited_us(""), None);
        let ticks = Ticks { busy: 1 + 2 + 3 + 6 + 7, stolen: 8 };
        assert_eq!(Ticks::parse("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n"), ticks);
        assert_eq!(Ticks::parse(""), Ticks::default());
    }

    #[test]
    fn each_core_has_its_own_ticks() {
        // Core 1 is offline and has no line.
        let stat = "cpu  2 0 0 4 0 0 0 2\ncpu0 2 0 0 1 0 0 0 0\ncpu2 0 0 0 3 0 0 0 2\nintr 5\n";
        let [first, third] = [Ticks { busy: 2, stolen: 0 }, Ticks { busy: 0, stolen: 2 }];
        assert_eq!(Ticks::parse_cores(stat), BTreeMap::from([(0, first), (2, third)]));
    }
}
