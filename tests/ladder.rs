//! The ladder is sound: parents exist, each step changes exactly one axis, and every name of the axis tables is on it.

use std::collections::HashSet;

use ndecho::ladder::rung::{codec_names, driver_names, protocol_names};
use ndecho::ladder::table::{STACKS, adds, parent, rungs};
use ndecho::ladder::{Axis, Rung, tree};

fn ancestors(rung: Rung) -> impl Iterator<Item = Rung> {
    std::iter::successors(parent(rung), |rung| parent(*rung)).take(100)
}

#[test]
fn no_rung_is_there_twice() {
    let ladder = rungs();
    let distinct: HashSet<Rung> = ladder.iter().copied().collect();
    assert_eq!(distinct.len(), ladder.len());
}

#[test]
fn the_root_is_the_only_rung_without_a_parent() {
    let roots: Vec<String> =
        rungs().into_iter().filter(|rung| parent(*rung).is_none()).map(|r| r.to_string()).collect();
    assert_eq!(roots, ["uring/raw/reflect"]);
}

#[test]
fn a_rung_differs_from_its_parent_in_exactly_one_axis() {
    for rung in rungs() {
        let Some(parent) = parent(rung) else { continue };
        assert_eq!(rung.differs(parent).len(), 1, "{rung} comes from {parent}");
    }
}

#[test]
fn every_parent_is_a_rung_that_stands_before_its_children() {
    let ladder = rungs();
    let place = |rung| ladder.iter().position(|other| *other == rung);
    for rung in &ladder {
        if let Some(parent) = parent(*rung) {
            assert!(place(parent).is_some(), "{rung} comes from {parent}, which is no rung");
            assert!(place(parent) < place(*rung), "{rung} stands before {parent}");
        }
    }
}

#[test]
fn every_rung_leads_to_the_root() {
    for rung in rungs() {
        let last = ancestors(rung).last().unwrap_or(rung);
        assert_eq!(last.to_string(), "uring/raw/reflect", "from {rung}");
    }
}

#[test]
fn every_driver_protocol_and_codec_has_a_rung() {
    let ladder = rungs();
    for name in driver_names() {
        assert!(ladder.iter().any(|rung| rung.driver() == name), "driver {name}");
    }
    for name in protocol_names() {
        assert!(ladder.iter().any(|rung| rung.protocol() == name), "protocol {name}");
    }
    for name in codec_names() {
        assert!(ladder.iter().any(|rung| rung.codec() == name), "codec {name}");
    }
}

#[test]
fn every_stack_has_a_rung() {
    for stack in STACKS {
        let held = |rung: &Rung| rung.driver() == stack.driver && rung.protocol() == stack.protocol;
        assert!(rungs().iter().any(held), "{}/{}", stack.driver, stack.protocol);
    }
}

#[test]
fn what_a_rung_adds_names_its_axis() {
    for rung in rungs() {
        let parent = parent(rung);
        let text = adds(rung, parent);
        let axis = parent.map(|parent| rung.differs(parent)[0]);
        let start = match axis {
            None => "the floor".to_owned(),
            Some(axis) => format!("{axis}: "),
        };
        assert!(text.starts_with(&start), "{rung}: {text}");
        assert!(text.len() > start.len() || axis.is_none(), "{rung} adds nothing in words");
        assert!(axis != Some(Axis::Codec) || rung.codec() != "reflect", "{rung}");
    }
}

#[test]
fn the_readme_lists_the_ladder_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let Ok(readme) = std::fs::read_to_string(path) else { return };
    assert!(
        readme.contains(&tree::markdown()),
        "README.md: the ladder's tables are not what `ndecho rungs --markdown` prints"
    );
}
