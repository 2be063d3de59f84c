//! Groups: the cells that one launch measures together.
//!
//! Cells of one array under one load are compared with each other, so their servers live at the
//! same time. If they do not fit into memory together, the group has several parts, and one cell
//! is in each of them. A cell that needs a whole window is a group by itself: an open loop, a
//! count, a null server, and any cell that the Python client loads.

use std::collections::BTreeMap;

use crate::axis::Payload;

use super::cell::Cell;
use super::plan::Plan;

/// Share of the free memory that the servers and load generators of a group may take.
pub(super) const MEMORY_SHARE: f64 = 0.6;

/// Memory of a server and its load generator without any message.
const IDLE_BYTES: u64 = 48 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Numbers of the cells in the plan.
    pub cells: Vec<usize>,
    pub is_sliced: bool,
    /// Number among the parts of cells that would not fit into memory together.
    pub part: u32,
}

/// Groups the cells of `plan`, in the order of their first cells.
pub fn groups(plan: &Plan, free_bytes: u64) -> Vec<Group> {
    groups_without(plan, free_bytes, &|_| false)
}

/// Groups the cells of `plan`. Those that `is_left_out` names are not launched, so they take no
/// memory.
pub(super) fn groups_without(
    plan: &Plan,
    free_bytes: u64,
    is_left_out: &dyn Fn(usize) -> bool,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, cell) in plan.cells.iter().enumerate() {
        let is_sliced = plan.is_sliced() && cell.is_sliced();
        let same = groups.iter_mut().find(|group| {
            is_sliced && group.is_sliced && plan.cells[group.cells[0]].is_same_load(cell)
        });
        match same {
            Some(group) => group.cells.push(index),
            None => groups.push(Group { cells: vec![index], is_sliced, part: 0 }),
        }
    }
    let budget = (free_bytes as f64 * MEMORY_SHARE) as u64;
    let is_absent = |index: usize| plan.cells[index].skip.is_some() || is_left_out(index);
    groups.into_iter().flat_map(|group| parts(plan, &group, budget, &is_absent)).collect()
}

/// Describes the groups that have several parts, a line each.
pub fn splits(plan: &Plan, groups: &[Group]) -> Vec<String> {
    let is_last = |index: usize| groups.get(index + 1).is_none_or(|next| next.part == 0);
    let line = |(index, group): (usize, &Group)| {
        let common = &plan.cells[group.cells[0]];
        (group.part > 0 && is_last(index)).then(|| {
            format!(
                "the servers of {} B {} do not fit into memory together: they are launched in {} \
                 parts, with {} in each",
                common.array.bytes,
                common.concurrency,
                group.part + 1,
                common.rung
            )
        })
    };
    groups.iter().enumerate().filter_map(line).collect()
}

fn parts(plan: &Plan, group: &Group, budget: u64, is_absent: &dyn Fn(usize) -> bool) -> Vec<Group> {
    let need = |index| if is_absent(index) { 0 } else { memory_bytes(&plan.cells[index]) };
    if !group.is_sliced
        || group.cells.iter().map(|index| need(*index)).fold(0, u64::saturating_add) <= budget
    {
        return vec![group.clone()];
    }
    let present: Vec<usize> =
        group.cells.iter().copied().filter(|index| !is_absent(*index)).collect();
    let common = common(plan, &present);
    let mut parts = vec![vec![common]];
    for index in group.cells.iter().copied().filter(|index| *index != common) {
        let last = parts.last_mut().expect("there is a first part");
        let taken = last.iter().map(|index| need(*index)).fold(need(index), u64::saturating_add);
        if last.len() > 1 && taken > budget {
            parts.push(vec![common, index]);
        } else {
            last.push(index);
        }
    }
    let part = |(part, cells)| Group { cells, is_sliced: true, part };
    (0..).zip(parts).map(part).collect()
}

/// Finds the cell that most of `cells` name as their reference; the first one if none does.
fn common(plan: &Plan, cells: &[usize]) -> usize {
    let mut named: BTreeMap<usize, usize> = BTreeMap::new();
    for cell in cells {
        let Some(reference) = plan.cells[*cell].reference else { continue };
        let is_reference = |index: &&usize| plan.cells[**index].is_usual(reference);
        if let Some(index) = cells.iter().find(is_reference) {
            *named.entry(*index).or_default() += 1;
        }
    }
    named.into_iter().max_by_key(|(_, times)| *times).map_or(cells[0], |(index, _)| index)
}

/// Estimates the memory of a cell's server and load generator: the messages in flight, and some
/// copies of one message.
pub(super) fn memory_bytes(cell: &Cell) -> u64 {
    let text_factor = match cell.rung.encoding().spec().payload {
        Payload::Bytes => 1,
        Payload::Base64 | Payload::Packed => 2,
        Payload::Numbers => 3,
    };
    let message = cell.array.bytes.saturating_mul(text_factor);
    let messages = 4 + 2 * u64::from(cell.concurrency.in_flight);
    message.saturating_mul(messages).saturating_add(IDLE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Rung;
    use crate::experiment::options::RunOptions;
    use crate::experiment::preset::Preset;

    fn plan(rungs: &str, sizes: &[u64]) -> Plan {
        let options = RunOptions {
            rungs: Some(rungs.into()),
            sizes: Some(sizes.to_vec()),
            ..RunOptions::new(Preset::Quick)
        };
        options.plan().unwrap()
    }

    fn names(plan: &Plan, group: &Group) -> Vec<String> {
        group.cells.iter().map(|index| plan.cells[*index].to_string()).collect()
    }

    #[test]
    fn cells_of_one_load_are_one_group_and_null_servers_are_alone() {
        let plan = plan("uring/{h1,h2}/*,tokio/tonic/protobuf:prost", &[8, 65_536]);
        let groups = groups(&plan, 64 << 30);
        let (sliced, alone): (Vec<&Group>, Vec<&Group>) =
            groups.iter().partition(|group| group.is_sliced);
        assert_eq!(sliced.len(), 4, "two sizes and two kinds of load");
        assert!(sliced.iter().all(|group| group.cells.len() > 3 && group.part == 0));
        assert!(alone.iter().all(|group| plan.cells[group.cells[0]].is_once));
        let mut all: Vec<usize> = groups.iter().flat_map(|group| group.cells.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..plan.cells.len()).collect::<Vec<_>>());
    }

    #[test]
    fn cells_that_are_left_out_take_no_memory_and_are_not_the_common_one() {
        let plan = plan("uring/{raw,h2}/protobuf,tokio/tonic*/protobuf:prost", &[64 << 20]);
        let sliced = |groups: Vec<Group>| -> Vec<Vec<usize>> {
            groups.into_iter().filter(|group| group.is_sliced).map(|group| group.cells).collect()
        };
        let all = sliced(groups(&plan, 2 << 30));
        let is_left_out = |index: usize| plan.cells[index].is_usual(tonic());
        let fewer = sliced(groups_without(&plan, 2 << 30, &is_left_out));
        assert!(all.len() > 1 && fewer.len() > 1, "{all:?} {fewer:?}");
        let commons: Vec<usize> = fewer.iter().map(|cells| cells[0]).collect();
        assert!(commons.iter().all(|cell| *cell == commons[0] && !is_left_out(*cell)));
        let few = |index: usize| index > 1;
        assert_eq!(sliced(groups_without(&plan, 2 << 30, &few)).len(), 1, "two servers fit");
    }

    fn tonic() -> Rung {
        "tokio/tonic/protobuf:prost".parse().unwrap()
    }

    #[test]
    fn a_group_that_does_not_fit_is_split_and_the_reference_is_in_each_part() {
        let plan = plan("uring/{raw,h2}/protobuf,tokio/tonic*/protobuf:prost", &[64 << 20]);
        let groups = groups(&plan, 2 << 30);
        let sliced: Vec<&Group> = groups.iter().filter(|group| group.is_sliced).collect();
        assert!(sliced.len() > 1, "{groups:?}");
        for (part, group) in sliced.iter().enumerate() {
            let names = names(&plan, group);
            assert_eq!(names[0], "tokio/tonic/protobuf:prost 67108864 B 1x1", "{names:?}");
            assert!(names.len() > 1 && group.part == part as u32, "{names:?}");
        }
        let parts = format!("in {} parts, with tokio/tonic/protobuf:prost in each", sliced.len());
        let splits = splits(&plan, &groups);
        assert!(splits.len() == 1 && splits[0].ends_with(&parts), "{splits:?}");
        assert_eq!(super::splits(&plan, &super::groups(&plan, 64 << 30)), [""; 0]);
    }
}
