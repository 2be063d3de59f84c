//! Servers of a section whose TCP sockets have other options than those of most.

use std::collections::{BTreeMap, BTreeSet};

use crate::sys::socket::SocketOptions;

use super::cell::CellTrials;

/// Names the options of most servers and each server that differs. `None` if all are equal, or if
/// no trial tells them.
pub(super) fn differences(cells: &[&CellTrials<'_>]) -> Option<String> {
    let mut rungs: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for trial in cells.iter().flat_map(|cell| &cell.0) {
        if let Some(socket) = &trial.socket {
            rungs.entry(words(socket)).or_default().insert(&trial.rung);
        }
    }
    let mut by_count: Vec<_> = rungs.into_iter().collect();
    by_count.sort_by_key(|(_, rungs)| std::cmp::Reverse(rungs.len()));
    let (usual, others) = by_count.split_first().filter(|(_, others)| !others.is_empty())?;
    let other = |(words, rungs): &(String, BTreeSet<&str>)| {
        format!("; {words}: {}", rungs.iter().copied().collect::<Vec<_>>().join(", "))
    };
    let others: String = others.iter().map(other).collect();
    Some(format!("sockets differ: most servers have {}{others}", usual.0))
}

fn words(socket: &SocketOptions) -> String {
    let congestion = socket.congestion.as_deref().unwrap_or("unknown congestion control");
    let nodelay = if socket.nodelay == Some(true) { "with" } else { "without" };
    format!("{congestion} {nodelay} TCP_NODELAY")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Trial;
    use crate::record::tests::trial;

    fn with(rung: &str, congestion: &str, nodelay: bool) -> Trial {
        let socket = SocketOptions {
            congestion: Some(congestion.to_owned()),
            nodelay: Some(nodelay),
            ..SocketOptions::default()
        };
        Trial { socket: Some(socket), ..trial(rung, 0, 1000) }
    }

    #[test]
    fn only_servers_that_differ_are_named() {
        let trials = [
            with("external/slow/protobuf", "bbr", false),
            with("tokio/tonic/protobuf:prost", "cubic", true),
            with("uring/h2/protobuf", "cubic", true),
            trial("uring/raw/reflect", 0, 1000),
        ];
        let line = |trials: &[Trial]| {
            let cells: Vec<CellTrials<'_>> =
                trials.iter().map(|trial| CellTrials(vec![trial])).collect();
            differences(&cells.iter().collect::<Vec<_>>())
        };
        let expected = "sockets differ: most servers have cubic with TCP_NODELAY; \
                        bbr without TCP_NODELAY: external/slow/protobuf";
        assert_eq!(line(&trials).as_deref(), Some(expected));
        assert_eq!(line(&trials[1..]), None);
    }
}
