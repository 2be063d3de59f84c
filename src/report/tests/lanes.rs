//! Tests of the third account of a difference: lanes of rungs, and costs that were planted in them.

use crate::axis::{Codec, Layer, Malloc, Protocol};
use crate::probe::injected_delay::DelayTotals;
use crate::record::{Lane, LaneCounts, LaneSubject, LaneTimed, PlantedWork, Variant};
use crate::report::Run;
use crate::report::closure::render;
use crate::report::page;

use super::closure::{self, LAUNCHES, flat};
use super::planted;

const CALLS: u32 = 100;

type Instructions<'a> = &'a [(Layer, u64)];

const RAW: Instructions<'_> = &[(Layer::CodecDecode, 500), (Layer::HttpFraming, 500)];

/// Lane whose calls take `ns` and have some instructions.
fn lane(
    protocol: Protocol,
    planted: Option<PlantedWork>,
    ns: f64,
    instructions: Instructions<'_>,
) -> Lane {
    let timed = |launch: u32| {
        let added = |work: PlantedWork| DelayTotals { messages: 1, ns: work.ns };
        LaneTimed {
            in_flight: 50,
            counted_calls: CALLS,
            ns: ns + f64::from(launch % 3),
            planted: planted.map(added),
            steps: planted.map(|_| 6),
        }
    };
    let of_all = |(layer, count): &(Layer, u64)| (*layer, count * u64::from(CALLS));
    Lane {
        version: crate::record::VERSION,
        subject: LaneSubject {
            protocol,
            codec: Codec::Protobuf,
            malloc: Malloc::Default,
            array: crate::record::tests::trial("uring/raw/reflect", 0, 1).array,
            in_flight: 1000,
            planted,
        },
        launches: (0..LAUNCHES).map(timed).collect(),
        counts: Ok(LaneCounts {
            calls: CALLS,
            instructions: instructions.iter().map(of_all).collect(),
            allocations: Some(u64::from(CALLS) * if protocol == Protocol::H2 { 3 } else { 1 }),
            copies: 0,
        }),
        failure: None,
    }
}

fn run(child: Instructions<'_>) -> Run {
    let layers = [(Layer::CodecDecode, 200), (Layer::HttpFraming, 300)];
    let mut run = closure::run(&layers, &layers);
    run.lanes = vec![lane(Protocol::Raw, None, 100.0, RAW), lane(Protocol::H2, None, 350.0, child)];
    run
}

fn text(run: &Run) -> String {
    flat(&render(run, 100).expect("it is attributed"))
}

#[test]
fn a_difference_in_memory_has_a_size_and_layers() {
    let text = text(&run(&[(Layer::CodecDecode, 510), (Layer::HttpFraming, 1500)]));
    assert!(text.contains("lanes, 50 in flight +250 ns [+250 to +250] +71.3 %"), "{text}");
    assert!(text.contains("a call +1010 instructions +50.2 %"), "{text}");
    assert!(text.contains("HTTP framing +1000 instructions +49.8 %"), "{text}");
    assert!(text.contains("leak +10 instructions +0.5 %"), "{text}");
    assert!(text.contains("closed in memory: no leak of 5 % of the instructions"), "{text}");
    assert!(text.contains("+2.0 allocations, +0.0 copies a call"), "{text}");
    assert!(text.contains("In memory, by instructions: 1 of 1 pairs are closed."), "{text}");
}

#[test]
fn a_leak_in_memory_names_its_layer_also_if_two_cancel_out() {
    let leaking = text(&run(&[(Layer::CodecDecode, 700), (Layer::HttpFraming, 1500)]));
    assert!(leaking.contains("NOT closed in memory: the axis does not explain codec decode"));
    assert!(leaking.contains("0 of 1 pairs are closed"), "{leaking}");
    let cancelled = [(Layer::CodecDecode, 200), (Layer::CodecEncode, 300)];
    let cancelled = text(&run(&cancelled));
    assert!(cancelled.contains("does not explain codec decode, codec encode"), "{cancelled}");
}

#[test]
fn rungs_on_two_drivers_have_the_same_lane() {
    let mut run = run(RAW);
    for trial in &mut run.trials {
        trial.rung = trial.rung.replace("uring/h2/", "tokio/raw/");
    }
    assert!(text(&run).contains("lanes: the same on both sides"));
}

#[test]
fn what_is_missing_is_said_with_its_reason() {
    let complete = run(RAW);
    let missing = |change: &dyn Fn(&mut Lane)| {
        let mut run = complete.clone();
        run.lanes.iter_mut().for_each(change);
        text(&run)
    };
    let uncounted = missing(&|lane| lane.counts = Err("valgrind is not installed".to_owned()));
    assert!(uncounted.contains("lanes, 50 in flight +250 ns"), "{uncounted}");
    assert!(uncounted.contains("lanes: no instructions: valgrind is not installed"));
    let failed = missing(&|lane| lane.failure = Some("the windows hold it back".to_owned()));
    assert!(failed.contains("lanes: missing: h2/protobuf: the windows hold it back"), "{failed}");
    let depth = missing(&|lane| {
        let is_raw = lane.subject.protocol == Protocol::Raw;
        lane.launches.iter_mut().for_each(|launch| launch.in_flight = if is_raw { 9 } else { 8 });
    });
    assert!(depth.contains("lanes: missing: the lanes had 8 and 9 calls in flight"), "{depth}");
    let mut none = complete.clone();
    none.lanes.clear();
    assert!(text(&none).contains("These records have no lanes"));
    none.lanes.push(complete.lanes[0].clone());
    assert!(text(&none).contains("lanes: missing: h2/protobuf was not run in memory"));
}

#[test]
fn without_samples_the_lanes_are_printed_by_themselves() {
    let mut run = run(&[(Layer::CodecDecode, 500), (Layer::HttpFraming, 1500)]);
    for trial in run.trials.iter_mut().filter(|it| it.variant == Variant::Profiled) {
        trial.profile = None;
        trial.outcome = crate::record::Outcome::Skipped { reason: "perf is not installed".into() };
    }
    let text = text(&run);
    assert!(text.contains("uring/h2/protobuf less uring/raw/protobuf, in memory only"), "{text}");
    assert!(text.contains("HTTP framing +1000 instructions"), "{text}");
}

/// Run with a planted cost of 500 ns, which the samples find, and its lanes.
fn planted_run(claimed: Layer, added: Instructions<'_>, ns: f64) -> Run {
    let layers = planted::with(claimed, planted::ADDED_NS);
    let mut run = planted::run(planted::OWN, claimed, &layers);
    let work = PlantedWork { layer: claimed, ns: planted::ADDED_NS };
    let with: Vec<(Layer, u64)> = [RAW, added].concat();
    run.lanes = vec![
        lane(Protocol::H2, None, 100.0, RAW),
        lane(Protocol::H2, Some(work), 100.0 + ns, &with),
    ];
    run
}

#[test]
fn a_planted_cost_counts_as_found_if_all_three_ways_find_it() {
    let found = text(&planted_run(Layer::Runtime, &[(Layer::Runtime, 1000)], 505.0));
    assert!(found.contains("lanes: found in runtime: 100 % of 1000 instructions; +505 ns"));
    assert!(found.contains("Planted: 1 of 1 known costs were found"), "{found}");

    let elsewhere = text(&planted_run(Layer::Runtime, &[(Layer::Allocator, 1000)], 505.0));
    assert!(elsewhere.contains("lanes: NOT found there, most instructions lie in allocator"));
    assert!(elsewhere.contains("Planted: 0 of 1 known costs were found"), "{elsewhere}");
    assert!(elsewhere.contains("1 were NOT found"), "{elsewhere}");

    let small = text(&planted_run(Layer::Runtime, &[(Layer::Runtime, 1000)], 200.0));
    assert!(small.contains("lanes: found in runtime, but NOT in this size: +200 ns"), "{small}");

    let mut noisy = planted_run(Layer::Runtime, &[(Layer::Runtime, 1000)], 505.0);
    noisy.lanes[1].launches.iter_mut().step_by(2).for_each(|launch| launch.ns = 50.0);
    let noisy = text(&noisy);
    let untold = "lanes: found in runtime, but the clock cannot tell the size: ";
    assert!(noisy.contains(untold) && noisy.contains("1 could not be resolved"), "{noisy}");

    let lost = text(&planted_run(Layer::Runtime, &[(Layer::Runtime, 5)], 505.0));
    assert!(lost.contains("lanes: they cannot resolve it"), "{lost}");
    assert!(lost.contains("1 could not be resolved by this run"), "{lost}");

    let mut uncounted = planted_run(Layer::Runtime, &[(Layer::Runtime, 1000)], 505.0);
    uncounted.lanes[1].counts = Err("valgrind is not installed".to_owned());
    assert!(text(&uncounted).contains("lanes: missing: valgrind is not installed"));
}

#[test]
fn a_page_has_a_row_for_each_lane() {
    let mut run = run(&[(Layer::CodecDecode, 600), (Layer::Allocator, 1200)]);
    run.lanes[0].counts = Err("valgrind is not installed".to_owned());
    let page = page::render(&run, &page::Icicles::of_run(&run)).html;
    let (_, section) = page.split_once("<section id=\"lanes\"").expect("the section of lanes");
    let (section, _) = section.split_once("</section>").expect("its end");
    for figure in [
        ">raw/<wbr>protobuf</th><td>",
        "<td>50</td><td>default</td><td>101 ns</td><td>–</td>",
        "<td>351 ns</td><td>1800</td><td>3.0</td><td>0.0</td><td>600</td><td>1200</td>",
        "h2/protobuf,8 B,50,default,351 ns,1800,3.0,0.0,600,1200",
    ] {
        assert!(section.contains(figure), "{figure} in {section}");
    }
}
