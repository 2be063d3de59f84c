//! Tests of the advice for one array, from records made by hand.

use crate::record::tests::{header, trial};
use crate::record::{ArrayInfo, Header, Outcome, Trial, Variant};
use crate::report::Run;
use crate::report::answer::advice::clients::Language;
use crate::report::answer::advice::{
    Advice, Limit, NoAdvice, Question, advise, candidates_at_rate, far, only_array,
};
use crate::stats::histogram::Histogram;

const COSTS: [(&str, u64); 6] = [
    ("uring/h1/npy", 20_000),
    ("tokio/axum/npy", 24_000),
    ("tokio/axum:best/npy", 25_500),
    ("uring/h2/protobuf", 28_000),
    ("tokio/tonic/protobuf:prost", 90_000),
    ("tokio/axum/json:serde", 620_000),
];

fn array() -> ArrayInfo {
    ArrayInfo { dtype: "<f8".into(), shape: vec![8192], bytes: 65_536, data_set: None }
}

/// A trial of a rung, whose cost scatters by two percent over the launches.
fn measured(cell: u32, rung: &str, round: u32, cost: u64) -> Trial {
    let percent = u64::from(round * round * 7 + cell * (round + 3)) % 5;
    Trial {
        cell,
        array: array(),
        connections: 8,
        in_flight: 8,
        ..trial(rung, round, cost * (98 + percent) / 100)
    }
}

fn closed(costs: &[(&str, u64)], launches: u32) -> Vec<Trial> {
    let trials = |round| {
        let twin = Trial { variant: Variant::Twin, ..measured(93, costs[0].0, round, costs[0].1) };
        let usual = (0..).zip(costs);
        let usual = usual.map(move |(cell, (rung, cost))| measured(cell, rung, round, *cost));
        usual.chain([twin])
    };
    (0..launches).flat_map(trials).collect()
}

/// Trials at a rate, each with 1000 requests a second of which some take `late_ns`.
fn open(costs: &[(&str, u64, u64)], rate_hz: f64, answered_hz: u64) -> Vec<Trial> {
    open_for(1_000_000_000, costs, rate_hz, answered_hz)
}

/// Trials of windows of `wall_ns`, in each of which `answered` requests are answered.
fn open_for(wall_ns: u64, costs: &[(&str, u64, u64)], rate_hz: f64, answered: u64) -> Vec<Trial> {
    let trial = |round: u32, cell: u32, (rung, cost, late_ns): (&str, u64, u64)| {
        let mut latencies = Histogram::default();
        (0..answered).for_each(|n| latencies.record(if n % 50 == 0 { late_ns } else { 100_000 }));
        let mut trial = Trial { offered_hz: Some(rate_hz), ..measured(cell, rung, round, cost) };
        if let Outcome::Measured(measured) = &mut trial.outcome {
            (measured.requests, measured.wall_ns) = (answered, wall_ns);
            measured.latency_histogram = latencies.to_text();
            if let Some(cpu) = &mut measured.server_cpu {
                cpu.total_ns = cpu.total_ns / 100 * answered;
            }
        }
        trial
    };
    let all = |round| (100..).zip(costs).map(move |(cell, cost)| trial(round, cell, *cost));
    (0..5).flat_map(all).collect()
}

fn run(trials: Vec<Trial>) -> Run {
    Run::new(Header { preset: "advise".into(), ..header() }, trials)
}

fn question(costs: &[(&str, u64)]) -> Question {
    Question {
        array: array(),
        connections: 8,
        language: None,
        rungs: costs.iter().map(|(rung, _)| (*rung).to_owned()).collect(),
        rate_hz: None,
        limit: None,
    }
}

fn p99(ms: u64) -> Option<Limit> {
    Some(Limit { name: "p99".into(), quantile: 0.99, ns: ms * 1_000_000 })
}

fn chosen(advice: &Advice) -> Option<String> {
    advice.choice.map(|choice| choice.rung.to_string())
}

fn assert_says(advice: &Advice, sentences: &[&str]) {
    let flat = advice.text.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in sentences {
        assert!(flat.contains(sentence), "{sentence:?} is not in\n{}", advice.text);
    }
}

fn assert_omits(advice: &Advice, words: &str) {
    assert!(!advice.text.contains(words), "{words:?} is in\n{}", advice.text);
}

#[test]
fn a_stack_at_its_best_comes_with_the_place_of_its_settings() {
    for (best, plain, file) in [
        ("tokio/axum:best/npy", "tokio/axum/npy", "src/stack/axum.rs"),
        ("tokio/tonic:best/protobuf:prost", "tokio/tonic/protobuf:prost", "src/stack/tonic/mod.rs"),
    ] {
        let costs = [(best, 20_000), (plain, 30_000)];
        let advice = advise(&run(closed(&costs, 10)), &question(&costs), 100).unwrap();
        assert_eq!(chosen(&advice).as_deref(), Some(best));
        assert_says(&advice, &[file, "docs/BIAS.md"]);
        assert!(std::path::Path::new(file).exists(), "{file}");
        let costs = [(best, 30_000), (plain, 20_000)];
        let advice = advise(&run(closed(&costs, 10)), &question(&costs), 100).unwrap();
        assert_omits(&advice, file);
    }
}

#[test]
fn the_cheapest_is_chosen_and_the_next_has_its_margin() {
    let advice = advise(&run(closed(&COSTS, 10)), &question(&COSTS), 100).unwrap();
    assert_eq!(chosen(&advice).as_deref(), Some("uring/h1/npy"));
    assert_says(
        &advice,
        &[
            "Choice our HTTP/1.1 with npy over REST (uring/h1/npy): 20.",
            "µs of server CPU per call. Of servers of others, axum with npy over REST is the \
             cheapest.",
            "Margin The next choice, axum with npy over REST, costs 24.",
            "1.2",
            "Without io_uring: axum with npy over REST.",
            "If it has to be gRPC: our HTTP/2 with protobuf over gRPC, 28.",
            "As a JSON list the array costs at least 3",
            "Another array, or another number of connections than 8, was not measured",
        ],
    );
    assert_omits(&advice, "No difference");
    assert_omits(&advice, "4 MiB");
}

#[test]
fn of_equals_the_easiest_is_chosen_and_the_rule_is_named() {
    let costs = [
        ("uring/h1/npy", 24_000),
        ("tokio/axum:best/npy", 24_010),
        ("tokio/axum/npy", 24_020),
        ("tokio/tonic/protobuf:prost", 90_000),
    ];
    let advice = advise(&run(closed(&costs, 10)), &question(&costs), 100).unwrap();
    assert_eq!(chosen(&advice).as_deref(), Some("tokio/axum/npy"));
    assert_says(
        &advice,
        &[
            "No difference was shown between it and our HTTP/1.1 with npy over REST",
            "Of equals, the easiest is taken: a server of others before ours",
            "The next choice, tonic with protobuf:prost over gRPC, costs 9",
        ],
    );
    assert_omits(&advice, "Without io_uring");
}

#[test]
fn few_launches_give_the_cheapest_without_a_margin() {
    let advice = advise(&run(closed(&COSTS, 2)), &question(&COSTS), 100).unwrap();
    assert_eq!(chosen(&advice).as_deref(), Some("uring/h1/npy"));
    let unknown = "Margin unknown: 2 launches of each server are too few for intervals";
    assert_says(&advice, &[unknown, "Measure for longer: --time 3m."]);
    assert_omits(&advice, "--rounds");
    assert_omits(&advice, "The next choice");
    assert_omits(&advice, "times the cheapest");
}

#[test]
fn servers_that_never_ran_together_have_costs_and_no_margin() {
    let costs = [("uring/h1/npy", 20_000), ("tokio/tonic/protobuf:prost", 90_000)];
    let mut trials = closed(&costs, 5);
    for trial in &mut trials {
        trial.part = u32::from(trial.rung.contains("tonic"));
    }
    let advice = advise(&run(trials), &question(&costs), 100).unwrap();
    assert_eq!(chosen(&advice).as_deref(), Some("uring/h1/npy"));
    assert_says(&advice, &["Margin unknown: the other servers were never launched together with"]);
    assert_omits(&advice, "no other candidate");
}

#[test]
fn an_encoding_without_a_client_in_the_language_is_not_chosen() {
    let costs =
        [("uring/h2/protobuf", 18_000), ("uring/h1/npy", 20_000), ("tokio/axum/npy", 24_000)];
    let run = run(closed(&costs, 10));
    let in_language = |language| {
        let question = Question { language: Some(language), ..question(&costs) };
        advise(&run, &question, 100).unwrap()
    };
    for language in [Language::Python, Language::Rust] {
        assert_eq!(chosen(&in_language(language)).as_deref(), Some("uring/h2/protobuf"));
    }
    for language in [Language::Java, Language::Cpp, Language::JavaScript, Language::Shell] {
        let advice = in_language(language);
        assert_eq!(chosen(&advice).as_deref(), Some("uring/h1/npy"), "{language:?}");
        let cheaper = "our HTTP/2 with protobuf over gRPC costs less, 18.";
        let name = language.name();
        let no_client = format!("uring/h2/protobuf: tools/clients has no client for it in {name}.");
        assert_says(&advice, &[cheaper, &no_client]);
    }
    let client = in_language(Language::Java).choice.unwrap().client;
    assert!(client.command("ADDR").ends_with("Echo.java ADDR"), "{client:?}");
    let browser = in_language(Language::JavaScript);
    assert_says(&browser, &["A browser cannot call gRPC without a proxy, which was not measured."]);
}

#[test]
fn a_json_list_that_is_chosen_warns_of_what_it_cannot_carry() {
    let costs = [("tokio/axum/json:serde", 8_000), ("tokio/axum/npy", 12_000)];
    let advised = |language, dtype: &str| {
        let array = ArrayInfo { dtype: dtype.into(), ..array() };
        let mut trials = closed(&costs, 10);
        trials.iter_mut().for_each(|trial| trial.array = array.clone());
        let asked = Question { language: Some(language), array, ..question(&costs) };
        advise(&run(trials), &asked, 100).unwrap()
    };
    for language in [Language::JavaScript, Language::Python] {
        let floats = advised(language, "<f8");
        assert_eq!(chosen(&floats).as_deref(), Some("tokio/axum/json:serde"));
        assert_says(&floats, &["NaN and infinities: serde_json and most other readers refuse"]);
    }
    assert_omits(&advised(Language::Python, "<i8"), "NaN");
    let long = advised(Language::JavaScript, "<i8");
    assert_eq!(chosen(&long).as_deref(), Some("tokio/axum/npy"));
    assert_says(&long, &["JSON.parse in JavaScript loses digits of integers beyond 2^53"]);
}

#[test]
fn a_limit_of_the_latency_decides_before_the_cost() {
    let late = [
        ("uring/h1/npy", 20_000, 9_000_000),
        ("tokio/axum/npy", 24_000, 2_000_000),
        ("uring/h2/protobuf", 26_000, 1_000_000),
    ];
    let mut trials = closed(&COSTS, 10);
    trials.extend(open(&late, 1000.0, 1000));
    let asked = Question { rate_hz: Some(1000.0), limit: p99(5), ..question(&COSTS) };
    let advice = advise(&run(trials.clone()), &asked, 100).unwrap();
    assert_eq!(chosen(&advice).as_deref(), Some("tokio/axum/npy"));
    assert_says(
        &advice,
        &[
            "1.00k requests/s, p99 of at most 5.00 ms",
            "Its p99 was 2.00 ms, from 5000 requests.",
            "uring/h1/npy: its p99 was 9.0",
            "tokio/tonic/protobuf:prost, tokio/axum/json:serde: not among the cheapest in the closed \
             loop",
        ],
    );
    let strict =
        Question { limit: Some(Limit { ns: 500_000, ..p99(1).unwrap() }), ..asked.clone() };
    let advice = advise(&run(trials.clone()), &strict, 100).unwrap();
    assert!(advice.choice.is_none());
    assert_says(&advice, &["Choice none: no candidate had a p99 of at most 500 µs at 1.00k/s."]);

    let unlimited = Question { limit: None, ..asked.clone() };
    let advice = advise(&run(trials.clone()), &unlimited, 100).unwrap();
    assert_eq!(chosen(&advice).as_deref(), Some("uring/h1/npy"), "cost decides without a limit");

    let other = Question { rate_hz: Some(50.0), ..asked };
    let error = advise(&run(trials), &other, 100).unwrap_err().to_string();
    assert_eq!(error, "the record has no requests offered at 50.0/s; it has 1.00k/s");
}

#[test]
fn a_candidate_that_answers_fewer_requests_than_offered_is_not_chosen() {
    let slow = [("uring/h1/npy", 20_000, 100_000), ("tokio/axum/npy", 24_000, 100_000)];
    let trials = open(&slow, 2000.0, 1000);
    let asked = Question { rate_hz: Some(2000.0), ..question(&COSTS) };
    let advice = advise(&run(trials), &asked, 100).unwrap();
    assert!(advice.choice.is_none());
    assert_says(
        &advice,
        &[
            "none: no candidate answered 2.00k requests/s.",
            "uring/h1/npy, tokio/axum/npy: it answered 50 % of the requests.",
        ],
    );
}

#[test]
fn few_requests_do_not_tell_a_quantile() {
    let trials = open(&[("uring/h1/npy", 20_000, 100_000)], 30.0, 30);
    let asked = Question { rate_hz: Some(30.0), limit: p99(5), ..question(&COSTS) };
    let advice = advise(&run(trials), &asked, 100).unwrap();
    assert!(advice.choice.is_none());
    let none = "Choice none: every candidate got too few requests to know its p99; name a higher";
    assert_says(&advice, &[none, "uring/h1/npy: 150 requests are too few to know its p99."]);
}

/// Objections of candidates that no other test combines: a rung each, its trials, the sentence if
/// all have it, and the words if only some have it.
fn objections() -> [(&'static str, Vec<Trial>, &'static str, &'static str); 4] {
    let apart = |first_cell, trials: Vec<Trial>| {
        trials.into_iter().map(|it| Trial { cell: it.cell + first_cell, ..it }).collect()
    };
    let (no_client, slow) = ("uring/h2/protobuf", "uring/h1/npy");
    let (late, few) = ("tokio/axum/npy", "tokio/axum:best/npy");
    let second = 1_000_000_000;
    [
        (
            no_client,
            apart(0, open_for(second, &[(no_client, 20_000, 100_000)], 1000.0, 1000)),
            "none: tools/clients has no client for any of these encodings in Java.",
            "1 had no client in Java in tools/clients",
        ),
        (
            slow,
            apart(1, open_for(second, &[(slow, 21_000, 100_000)], 1000.0, 500)),
            "none: no candidate answered 1.00k requests/s.",
            "1 answered fewer than the 1.00k requests/s offered",
        ),
        (
            late,
            apart(2, open_for(second, &[(late, 22_000, 9_000_000)], 1000.0, 1000)),
            "none: no candidate had a p99 of at most 5.00 ms at 1.00k/s.",
            "1 had a p99 above 5.00 ms at 1.00k/s",
        ),
        (
            few,
            apart(3, open_for(second / 100, &[(few, 23_000, 100_000)], 1000.0, 10)),
            "none: every candidate got too few requests to know its p99; name a higher --rate or a \
             lower quantile.",
            "1 got too few requests to know the p99",
        ),
    ]
}

#[test]
fn without_a_choice_every_combination_of_objections_is_told_truly() {
    for combination in 1_u32..1 << 4 {
        let is_in = |index: &usize| combination >> index & 1 == 1;
        let all = objections();
        let chosen: Vec<usize> = (0..all.len()).filter(is_in).collect();
        let trials = chosen.iter().flat_map(|index| all[*index].1.clone()).collect();
        let asked = Question {
            language: Some(Language::Java),
            rungs: chosen.iter().map(|index| all[*index].0.to_owned()).collect(),
            rate_hz: Some(1000.0),
            limit: p99(5),
            ..question(&COSTS)
        };
        let advice = advise(&run(trials), &asked, 100).unwrap();
        assert!(advice.choice.is_none(), "{}", advice.text);
        for (index, (_, _, of_all, of_some)) in all.iter().enumerate() {
            match (is_in(&index), chosen.len()) {
                (true, 1) => assert_says(&advice, &[of_all]),
                (true, _) => assert_says(&advice, &[of_some]),
                (false, _) => {
                    let flat = advice.text.split_whitespace().collect::<Vec<_>>().join(" ");
                    assert!(!flat.contains(of_all) && !flat.contains(of_some), "{}", advice.text);
                }
            }
        }
        if chosen.len() > 1 {
            assert_says(&advice, &[&format!("none: of {} candidates, ", chosen.len())]);
        }
    }
}

#[test]
fn the_cheapest_get_requests_at_a_rate_and_one_of_them_is_of_others() {
    let costs = [
        ("uring/h1/npy", 20_000),
        ("uring/h1/msgpack", 20_500),
        ("uring/h2/protobuf", 21_000),
        ("tokio/axum/npy", 24_000),
        ("tokio/axum:best/npy", 25_000),
        ("tokio/tonic/protobuf:prost", 90_000),
    ];
    let run = run(closed(&costs, 10));
    let asked = Question { language: Some(Language::Rust), ..question(&costs) };
    let (rungs, rate_hz) = candidates_at_rate(&run, &asked).unwrap();
    let few = ["uring/h1/npy", "uring/h2/protobuf", "tokio/axum/npy", "tokio/axum:best/npy"];
    assert_eq!(rungs, few, "there is no client for msgpack in Rust");
    assert_eq!(rate_hz, 60_000.0, "60 % of the rate of all of them");
}

#[test]
fn after_one_launch_the_far_candidates_are_left_out_with_their_factor() {
    let costs = [
        ("uring/h2/protobuf", 10_000),
        ("uring/h1/npy", 20_000),
        ("uring/h1/msgpack", 21_000),
        ("tokio/axum/npy", 40_000),
        ("tokio/axum:best/npy", 42_000),
        ("tokio/tonic/protobuf:prost", 90_000),
    ];
    let names = |far: &[(String, String)]| -> Vec<String> {
        far.iter().map(|(rung, _)| rung.clone()).collect()
    };
    let first = run(closed(&costs, 1));
    let of_any = far(&first, &question(&costs)).unwrap();
    // The cheapest server of others stays.
    assert_eq!(names(&of_any), [costs[1].0, costs[2].0, costs[4].0, costs[5].0]);
    let in_java = Question { language: Some(Language::Java), ..question(&costs) };
    let of_java = far(&first, &in_java).unwrap();
    assert_eq!(names(&of_java), [costs[4].0, costs[5].0], "there is a client for npy only");

    let mut trials = closed(&costs, 5);
    for trial in trials.iter_mut().filter(|trial| trial.round > 0) {
        if let Some((_, reason)) = of_java.iter().find(|(rung, _)| *rung == trial.rung) {
            trial.outcome = Outcome::Skipped { reason: reason.clone() };
        }
    }
    let advice = advise(&run(trials), &in_java, 100).unwrap();
    assert_eq!(chosen(&advice).as_deref(), Some("uring/h1/npy"));
    assert_says(
        &advice,
        &[
            "tokio/axum:best/npy: more than 1.5 times the cost of uring/h1/npy in the first launch \
             (2.1), so later launches were without it.",
            "The next choice, axum with npy over REST, costs",
        ],
    );
    assert_omits(&advice, "too few for intervals");
}

#[test]
fn a_rung_whose_twin_tells_the_noise_is_never_left_out() {
    let costs = [("uring/h1/json", 90_000), ("uring/h1/npy", 20_000)];
    let with_twin = run(closed(&costs, 1));
    assert_eq!(far(&with_twin, &question(&costs)), Ok(Vec::new()));
    let is_usual = |trial: &Trial| trial.variant == Variant::Usual;
    let without_twin = with_twin.trials.into_iter().filter(is_usual).collect();
    assert_eq!(far(&run(without_twin), &question(&costs)).unwrap().len(), 1);
}

#[test]
fn a_record_without_the_array_or_the_load_is_refused_with_what_it_has() {
    let run = run(closed(&COSTS, 10));
    let other = ArrayInfo { shape: vec![64, 128], ..array() };
    let refused = |asked: &Question| advise(&run, asked, 100).unwrap_err();
    let error = refused(&Question { array: other, ..question(&COSTS) });
    assert_eq!(
        error.to_string(),
        "the record has no array 64 KiB <f8 [64, 128]; it has 64 KiB <f8 [8192]"
    );
    let error = refused(&Question { connections: 4, ..question(&COSTS) });
    assert!(error.to_string().ends_with("; it has it with 8"), "{error}");
    let none = Question { rungs: vec!["uring/h1/msgpack".into()], ..question(&COSTS) };
    assert!(matches!(refused(&none), NoAdvice::Candidates { .. }));
    assert_eq!(only_array(&run), Some(array()));
}

#[test]
fn a_large_array_has_the_limit_of_grpc_clients() {
    let large = ArrayInfo { shape: vec![1 << 20], bytes: 8 << 20, ..array() };
    let mut trials = closed(&COSTS, 10);
    trials.iter_mut().for_each(|trial| trial.array = large.clone());
    let advice = advise(&run(trials), &Question { array: large, ..question(&COSTS) }, 100).unwrap();
    assert_says(&advice, &["tonic and grpcio refuse messages above 4 MiB"]);
}

#[test]
fn a_candidate_that_failed_or_is_missing_is_named() {
    let mut trials = closed(&COSTS, 10);
    for trial in trials.iter_mut().filter(|trial| trial.rung == "tokio/axum/json:serde") {
        trial.outcome = Outcome::Skipped { reason: "its text has about 900 MiB".into() };
    }
    let mut asked = question(&COSTS);
    asked.rungs.push("uring/h1/msgpack".into());
    let advice = advise(&run(trials), &asked, 100).unwrap();
    let text = "tokio/axum/json:serde: its text has about 900 MiB.";
    assert_says(&advice, &[text, "uring/h1/msgpack: not in this record."]);
}

#[test]
fn lines_fit_the_width() {
    let mut trials = closed(&COSTS, 10);
    trials.extend(open(&[("uring/h1/npy", 20_000, 9_000_000)], 1000.0, 1000));
    let run = run(trials);
    let open = Question { rate_hz: Some(1000.0), limit: p99(50), ..question(&COSTS) };
    for asked in [question(&COSTS), open] {
        for width in [20, 80, 100, 200] {
            let text = advise(&run, &asked, width).unwrap().text;
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.clamp(80, 100)), "{widest:?}\n{text}");
        }
    }
}
