//! Pace of a run: the time that its launches took, and the blocks and the time that are left.
//!
//! Every group is expected to take as long as it took last time. A group without a launch so far
//! takes as long by cell as the others. Nothing here reads a clock.

use std::time::Duration;

use super::preset::Blocks;

#[derive(Clone, Debug)]
pub struct Pace {
    /// Number of cells of each group.
    cells: Vec<usize>,
    /// Time of the last launch of each group.
    took: Vec<Option<Duration>>,
}

/// Expected rest of a run that goes on until its blocks or its time are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Number of blocks of the whole run.
    pub blocks: u32,
    /// False if the time decides how many blocks there are, or the run may end early.
    pub is_exact: bool,
    pub time: Duration,
}

impl Pace {
    /// Creates the pace of groups with these numbers of cells, before any launch.
    pub fn new(cells: Vec<usize>) -> Pace {
        Pace { took: vec![None; cells.len()], cells }
    }

    pub fn record(&mut self, group: usize, took: Duration) {
        self.took[group] = Some(took);
    }

    /// Forecasts the rest of a run in block `round`, `elapsed` after its start, in which the groups
    /// `waiting` are still to be launched. `due` lists the groups of a later block. `None` before
    /// the first launch has ended.
    pub fn rest(
        &self,
        blocks: Blocks,
        round: u32,
        elapsed: Duration,
        waiting: &[usize],
        due: impl Fn(u32) -> Vec<usize>,
    ) -> Option<Rest> {
        let by_cell = self.by_cell()?;
        let time = |groups: &[usize]| -> Duration {
            let time = |&group: &usize| {
                self.took[group].unwrap_or_else(|| by_cell.mul_f64(self.cells[group] as f64))
            };
            groups.iter().map(time).sum()
        };
        let mut end = elapsed + time(waiting);
        let mut count = round + 1;
        while count < blocks.max {
            let next = time(&due(count));
            if blocks.time.is_some_and(|limit| end + next > limit) {
                break;
            }
            end += next;
            count += 1;
        }
        let is_exact = blocks.time.is_none() && blocks.min == blocks.max;
        Some(Rest { blocks: count, is_exact, time: end - elapsed })
    }

    fn by_cell(&self) -> Option<Duration> {
        let launched =
            || self.took.iter().zip(&self.cells).filter_map(|(took, n)| Some(((*took)?, n)));
        let cells: usize = launched().map(|(_, cells)| cells).sum();
        let took: Duration = launched().map(|(took, _)| took).sum();
        (cells > 0).then(|| took.div_f64(cells as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn exactly(rounds: u32) -> Blocks {
        Blocks { min: rounds, max: rounds, time: None }
    }

    fn within(seconds: u32) -> Blocks {
        Blocks { min: 5, max: 1000, time: Some(seconds * SECOND) }
    }

    /// Groups of 10 and 5 cells that took 4 s and 2 s.
    fn pace() -> Pace {
        let mut pace = Pace::new(vec![10, 5]);
        pace.record(0, 4 * SECOND);
        pace.record(1, 2 * SECOND);
        pace
    }

    fn all(_: u32) -> Vec<usize> {
        vec![0, 1]
    }

    #[test]
    fn nothing_is_known_before_the_first_launch() {
        let pace = Pace::new(vec![10, 5]);
        assert_eq!(pace.rest(exactly(3), 0, Duration::ZERO, &[0, 1], all), None);
    }

    #[test]
    fn groups_that_were_not_launched_yet_take_as_long_by_cell() {
        let mut pace = Pace::new(vec![10, 5]);
        pace.record(0, 4 * SECOND);
        let rest = pace.rest(exactly(1), 0, 5 * SECOND, &[1], all).unwrap();
        assert_eq!(rest, Rest { blocks: 1, is_exact: true, time: 2 * SECOND });
    }

    #[test]
    fn a_number_of_blocks_is_exact_and_has_a_time() {
        let rest = pace().rest(exactly(5), 1, 7 * SECOND, &[1], all).unwrap();
        assert_eq!(rest, Rest { blocks: 5, is_exact: true, time: (2 + 3 * 6) * SECOND });
    }

    #[test]
    fn a_time_limit_holds_as_many_blocks_as_fit() {
        // The rest of this block ends at 8 s, three more at 26 s, and a fourth would at 32 s.
        let rest = pace().rest(within(30), 0, 6 * SECOND, &[1], all).unwrap();
        assert_eq!(rest, Rest { blocks: 4, is_exact: false, time: 20 * SECOND });
        let late = pace().rest(within(30), 4, 31 * SECOND, &[], all).unwrap();
        assert_eq!(late, Rest { blocks: 5, is_exact: false, time: Duration::ZERO });
        let few = Blocks { max: 2, ..within(30) };
        assert_eq!(pace().rest(few, 0, 6 * SECOND, &[], all).unwrap().blocks, 2);
    }

    #[test]
    fn groups_that_are_left_out_leave_time_for_more_blocks() {
        let without_first = |_| vec![1];
        let rest = pace().rest(within(30), 4, 20 * SECOND, &[1], without_first).unwrap();
        assert_eq!(rest, Rest { blocks: 9, is_exact: false, time: 10 * SECOND });
        let rest = pace().rest(exactly(5), 3, 20 * SECOND, &[], without_first).unwrap();
        assert_eq!(rest.time, 2 * SECOND);
    }
}
