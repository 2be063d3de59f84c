//! Soundness of the ladder: parents exist, each step changes exactly one axis, and every name of
//! the axis tables occurs.

use std::collections::HashSet;

use ndecho::axis::{Axis, Codec, Driver, Protocol, Rung, Shape, Transport, Tuning};
use ndecho::ladder::table::{STACKS, adds, parent, rungs};
use ndecho::ladder::tree;

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
fn the_settings_of_a_stack_are_an_axis() {
    let differs = |a: &str, b: &str| {
        let rung = |name: &str| name.parse::<Rung>().expect(name);
        rung(a).differs(rung(b))
    };
    let (documented, tuned) = ("tokio/hyper-h2/protobuf", "tokio/hyper-h2:tuned/protobuf");
    assert_eq!(differs(documented, tuned), [Axis::Tuning]);
    assert_eq!(differs(documented, "tokio/h2-crate/protobuf"), [Axis::Protocol]);
    let planted = differs(documented, "tokio/h2-crate:tuned/protobuf");
    assert_eq!(planted, [Axis::Protocol, Axis::Tuning]);
}

#[test]
fn a_name_tells_the_settings_of_a_borrowed_stack() {
    for protocol in Protocol::ALL.into_iter().filter(|p| p.spec().shape != Shape::Machine) {
        let form = protocol.name().strip_prefix(protocol.stack());
        let tuning = match protocol.spec().tuning {
            Tuning::Default => "",
            Tuning::Tuned => ":tuned",
            Tuning::Best => ":best",
        };
        assert_eq!(form, Some(tuning), "{protocol}");
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
fn every_point_of_every_axis_has_a_rung() {
    let ladder = rungs();
    for driver in Driver::ALL {
        assert!(ladder.iter().any(|rung| rung.driver() == driver), "driver {driver}");
    }
    for transport in Transport::ALL {
        assert!(ladder.iter().any(|rung| rung.transport() == transport), "transport {transport}");
    }
    for protocol in Protocol::ALL {
        assert!(ladder.iter().any(|rung| rung.protocol() == protocol), "protocol {protocol}");
    }
    for codec in Codec::ALL {
        assert!(ladder.iter().any(|rung| rung.codec() == codec), "codec {codec}");
    }
}

#[test]
fn every_stack_has_a_rung_of_each_of_its_codecs() {
    for stack in STACKS {
        let rungs: Vec<Rung> = rungs().into_iter().filter(|rung| stack.holds(*rung)).collect();
        assert_eq!(rungs.len(), stack.codecs.len(), "{stack}");
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
        assert!(axis != Some(Axis::Codec) || rung.codec() != Codec::Reflect, "{rung}");
    }
}

#[test]
fn the_document_lists_the_ladder_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/LADDER.md");
    let Ok(document) = std::fs::read_to_string(path) else { return };
    assert!(
        document.contains(&tree::markdown()),
        "docs/LADDER.md: the tables differ from the output of `ndecho rungs --markdown`"
    );
}
