//! Allocators of the servers of a section, for the title of its table.

use std::collections::{BTreeMap, BTreeSet};

use crate::axis::Malloc;

use super::cell::CellTrials;

/// Names the allocator of most rungs, then each other one with the stacks that have it.
pub(super) fn names(cells: &[&CellTrials<'_>]) -> String {
    let mut rungs: BTreeMap<Malloc, Vec<&str>> = BTreeMap::new();
    for trial in cells.iter().map(|cell| cell.first()) {
        let server = trial.spec.as_ref().and_then(|spec| spec.servers.first());
        if let Some(malloc) = server.and_then(|server| server.malloc) {
            rungs.entry(malloc).or_default().push(&trial.rung);
        }
    }
    let mut by_count: Vec<_> = rungs.into_iter().collect();
    by_count.sort_by_key(|(_, rungs)| std::cmp::Reverse(rungs.len()));
    let names = by_count.iter().enumerate().map(|(index, (malloc, rungs))| {
        let stacks: BTreeSet<&str> = rungs
            .iter()
            .map(|rung| rung.rsplit_once('/').map_or(*rung, |(stack, _)| stack))
            .collect();
        match index {
            0 => malloc.to_string(),
            _ => format!("{malloc} ({})", stacks.into_iter().collect::<Vec<_>>().join(", ")),
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Encoding;
    use crate::record::Trial;
    use crate::record::tests::trial;
    use crate::record::trial_spec::{LoadSpec, ServerSpec, TrialSpec};

    fn with(rung: &str, malloc: Option<Malloc>) -> Trial {
        let url = "grpc://127.0.0.1:1".parse().expect("a URL");
        let servers = vec![ServerSpec { malloc, ..ServerSpec::default() }];
        let spec = TrialSpec { servers, load: LoadSpec::new(url, Encoding::Protobuf) };
        Trial { spec: Some(Box::new(spec)), ..trial(rung, 0, 1000) }
    }

    fn names_of(trials: &[Trial]) -> String {
        let cells: Vec<CellTrials<'_>> =
            trials.iter().map(|trial| CellTrials(vec![trial])).collect();
        names(&cells.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_most_frequent_allocator_stands_first_and_the_others_name_their_stacks() {
        let plain = |rung| with(rung, Some(Malloc::Default));
        let best = with("tokio/tonic:best/protobuf:prost", Some(Malloc::Keep));
        let trials = [best, plain("uring/h2/protobuf"), plain("tokio/tonic/protobuf:prost")];
        assert_eq!(names_of(&trials), "default, keep (tokio/tonic:best)");
        assert_eq!(names_of(&trials[1..]), "default");
        assert_eq!(names_of(&[with("uring/h2/protobuf", None)]), "");
    }
}
