//! Messages of a run on stderr: the announcement, the progress bar, and the first forecast.

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output::tell;
use crate::experiment::group::Group;
use crate::experiment::pace::Rest;
use crate::experiment::plan::Plan;
use crate::experiment::preset::Blocks;
use crate::experiment::session::{Observer, Place, Progress};
use crate::experiment::testbed::Testbed;
use crate::record::Trial;
use crate::report::units;

/// Judgement of the trials so far, which depends on the figures that the command compares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Analysis {
    /// Returns true if the figures need no further block.
    pub(super) is_enough: fn(&[Trial]) -> bool,
    /// Forecasts in words how well the figures will be known after a number of blocks.
    pub(super) forecast: fn(&[Trial], u32) -> Option<String>,
}

/// Describes what a run will do: cells, groups, blocks, cores and the place of its records.
pub(super) fn announcement(testbed: &Testbed, plan: &Plan, groups: &[Group]) -> String {
    format!(
        "{}; {}; server on core {}, load generator on core {}; records in {}",
        cells(groups),
        blocks(plan.blocks, groups),
        testbed.cpu_server,
        testbed.cpu_client,
        testbed.out.display()
    )
}

fn cells(groups: &[Group]) -> String {
    let count = |is_sliced: bool| {
        let groups = || groups.iter().filter(move |group| group.is_sliced == is_sliced);
        (groups().map(|group| group.cells.len()).sum::<usize>(), groups().count())
    };
    match (count(true), count(false).0) {
        ((0, _), alone) => plural(alone, "cell"),
        ((cells, groups), 0) => format!("{} in {}", plural(cells, "cell"), plural(groups, "group")),
        ((cells, groups), alone) => format!(
            "{} in {}, and {alone} measured alone",
            plural(cells, "cell"),
            plural(groups, "group")
        ),
    }
}

fn blocks(blocks: Blocks, groups: &[Group]) -> String {
    let launch = if groups.iter().any(|group| group.is_sliced) {
        "one launch per group"
    } else {
        "one launch per cell"
    };
    let limit = blocks.time.map(|time| format!(", at most {}", units::minutes(time)));
    let limit = limit.unwrap_or_default();
    match (blocks.min, blocks.max) {
        (min, max) if min == max => format!("{} of {launch}{limit}", plural(max, "block")),
        _ if blocks.time.is_some() => {
            format!("blocks of {launch} until every ratio is known{limit}")
        }
        (min, max) => format!("{min} to {max} blocks of {launch}, until every ratio is known"),
    }
}

fn plural<N: std::fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let end = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{end}")
}

/// Progress bar of a run. It changes between launches only, so that nothing of ours runs during
/// one. Nothing is drawn if stderr is no terminal; the forecast is printed all the same.
pub(super) struct Screen<'a> {
    bar: ProgressBar,
    analysis: Analysis,
    /// Names the rungs that are left out after the first block, with reasons.
    leave_out: Option<&'a dyn Fn() -> Vec<(String, String)>>,
    is_forecast: bool,
}

impl<'a> Screen<'a> {
    pub(super) fn new(
        analysis: Analysis,
        leave_out: Option<&'a dyn Fn() -> Vec<(String, String)>>,
    ) -> Screen<'a> {
        let style = ProgressStyle::with_template("{bar:20} {pos}/{len}  {wide_msg}");
        let bar = ProgressBar::no_length().with_style(style.expect("the template is a constant"));
        Screen { bar, analysis, leave_out, is_forecast: false }
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Screen<'_> {
    fn launch_starts(&mut self, progress: Progress<'_>) {
        self.bar.set_message(message(progress));
        self.bar.set_length(progress.place.total as u64);
        self.bar.set_position(progress.place.done as u64);
    }

    fn block_ends(&mut self, place: Place, trials: &[Trial]) {
        let Some(rest) =
            place.rest.filter(|rest| !self.is_forecast && rest.blocks > place.round + 1)
        else {
            return;
        };
        self.is_forecast = true;
        if let Some(words) = (self.analysis.forecast)(trials, rest.blocks) {
            let line = format!("after {}: {words}", position(place.round, rest));
            self.bar.suspend(|| tell(&line));
        }
    }

    fn is_enough(&mut self, trials: &[Trial]) -> bool {
        (self.analysis.is_enough)(trials)
    }

    fn leave_out(&mut self) -> Vec<(String, String)> {
        self.leave_out.map_or_else(Vec::new, |leave_out| leave_out())
    }
}

fn message(progress: Progress<'_>) -> String {
    let Progress { place, next, others } = progress;
    let others = match others {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    match place.rest {
        None => format!("block {}: {next}{others}", place.round + 1),
        Some(rest) => {
            let left = units::minutes(rest.time);
            format!("{}, {left} left: {next}{others}", position(place.round, rest))
        }
    }
}

/// `block 3 of about 12`.
fn position(round: u32, rest: Rest) -> String {
    let about = if rest.is_exact { "" } else { "about " };
    format!("block {} of {about}{}", round + 1, rest.blocks)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::experiment::group;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;
    use crate::external::environment::Environments;
    use crate::probe::profile::SampledBy;

    fn options() -> RunOptions {
        RunOptions {
            rungs: Some("uring/h1/*,uring/h2/protobuf,tokio/tonic/protobuf:prost".into()),
            sizes: Some(vec![8]),
            ..RunOptions::new(Preset::Quick)
        }
    }

    fn announced(options: &RunOptions) -> String {
        let plan = options.plan().unwrap();
        let testbed = Testbed {
            program: PathBuf::new(),
            builds: [Vec::new(), Vec::new()],
            cpu_server: 0,
            cpu_client: 1,
            out: PathBuf::from("DIR"),
            environments: Environments::default(),
            sampler: SampledBy::default(),
            python: None,
            foreign_client: None,
        };
        announcement(&testbed, &plan, &group::groups(&plan, 64 << 30))
    }

    #[test]
    fn an_announcement_tells_cells_groups_and_the_longest_time() {
        let usual = announced(&options());
        assert!(
            usual.ends_with(
                "; blocks of one launch per group until every ratio is known, at most 2 min 55 s; \
                 server on core 0, load generator on core 1; records in DIR"
            ),
            "{usual}"
        );
        assert!(usual.contains(" cells in 2 groups, and 14 measured alone; "), "{usual}");
        let rounds = announced(&RunOptions { rounds: Some(1), ..options() });
        assert!(rounds.contains("; 1 block of one launch per group; "), "{rounds}");
        let limited =
            RunOptions { rounds: Some(6), time: Some(Duration::from_secs(60)), ..options() };
        let limited = announced(&limited);
        assert!(
            limited.contains("; 6 blocks of one launch per group, at most 1 min; "),
            "{limited}"
        );
        let full =
            announced(&RunOptions { rungs: options().rungs, ..RunOptions::new(Preset::Full) });
        assert!(full.contains(" blocks of one launch per group, until every ratio is"), "{full}");
    }

    #[test]
    fn a_message_tells_the_block_and_the_time_left() {
        let plan = options().plan().unwrap();
        let rest = |is_exact| Rest { blocks: 12, is_exact, time: Duration::from_secs(100) };
        let message = |rest, others| {
            let place = Place { round: 2, done: 0, total: 9, rest };
            message(Progress { place, next: &plan.cells[0], others })
        };
        let next = plan.cells[0].to_string();
        assert_eq!(message(None, 0), format!("block 3: {next}"));
        assert_eq!(
            message(Some(rest(false)), 4),
            format!("block 3 of about 12, 1 min 40 s left: {next} and 4 more")
        );
        assert!(message(Some(rest(true)), 0).starts_with("block 3 of 12, 1 min 40 s left: "));
    }
}
