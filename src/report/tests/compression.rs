use crate::axis::{Coding, DataSet};
use crate::probe::cpu_clock::CpuTime;
use crate::record::tests::{header, trial, with};
use crate::record::{ArrayInfo, Header, Line, Measurement, Outcome, Trial};
use crate::report::{Run, compression, table};

const RUNG: &str = "uring/h1/npy";

/// Microseconds of server and client for a call, and bytes of request and reply.
type Costs = (f64, f64, u64);

/// Trials of a coding, a little different in each launch.
fn coded(cell: u32, coding: Coding, (server_us, client_us, bytes): Costs) -> Vec<Trial> {
    let total = |us: f64, factor: f64| CpuTime {
        total_ns: (us * 1000.0 * factor * 100.0) as u64,
        ..CpuTime::default()
    };
    let measured = |round: u32| {
        let factor = 1.0 + 0.002 * f64::from(round % 3);
        Measurement {
            requests: 100,
            wall_ns: 1_000_000,
            bytes_out: bytes * 50,
            bytes_in: bytes * 50,
            server_cpu: Some(total(server_us, factor)),
            client_cpu: total(client_us, factor),
            ..Measurement::default()
        }
    };
    let array = ArrayInfo {
        dtype: "<f4".into(),
        shape: vec![128, 128],
        bytes: 65_536,
        data_set: Some(DataSet::Smooth),
    };
    let one = |round| Trial {
        cell,
        coding,
        array: array.clone(),
        in_flight: 1,
        ..with(trial(RUNG, round, 0), Outcome::Measured(Box::new(measured(round))))
    };
    (0..8).map(one).collect()
}

fn run(codings: &[(Coding, Costs)]) -> Run {
    let all = (0..).zip(codings).flat_map(|(cell, (coding, costs))| coded(cell, *coding, *costs));
    let header = Header { preset: "compression".into(), ..header() };
    Run::new(header, all.collect())
}

/// Returns the cells of the line that begins with `name`.
fn line(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.trim_start().starts_with(name));
    let words = line.unwrap_or_else(|| panic!("no {name} in\n{text}")).split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

const PLAIN: (Coding, Costs) = (Coding::Identity, (20.0, 30.0, 131_072));

#[test]
fn a_coding_pays_below_the_saved_bits_over_the_added_time() {
    let run = run(&[PLAIN, (Coding::Zstd, (100.0, 130.0, 65_536))]);
    let text = compression::render(&run, 100).unwrap();
    // 524 288 bits are saved: for 80 µs of the server, and for 180 µs of both.
    let zstd = line(&text, "zstd");
    assert!(zstd.starts_with("zstd 100 µs"), "{zstd}");
    assert!(zstd.contains("130 µs 64 KiB 50% 6.5"), "{zstd}");
    assert!(zstd.contains(" 2.91 [2.9"), "{zstd}");
    assert!(line(&text, "plain").ends_with("30.0 µs 128 KiB 100% - -"), "{text}");
    assert!(text.contains(
        "smooth, uring/h1/npy: fastest call: zstd at 0.1 and 1 Gbit/s; plain at 10 and 100"
    ));
}

#[test]
fn a_coding_that_saves_or_costs_nothing_is_described_in_words() {
    let run = run(&[
        PLAIN,
        (Coding::Gzip, (400.0, 400.0, 131_200)),
        (Coding::Lz4, (20.0, 30.0, 65_536)),
        (Coding::ShuffleZstd, (10.0, 15.0, 65_536)),
    ]);
    let text = compression::render(&run, 100).unwrap();
    assert!(line(&text, "gzip").ends_with("100% never never"), "{text}");
    assert!(line(&text, "lz4").ends_with("50% any speed any speed"), "{text}");
    assert!(line(&text, "shuffle-zstd").ends_with("50% any speed any speed"), "{text}");
    assert!(!text.contains("NaN"), "{text}");
}

#[test]
fn a_pair_that_is_not_supported_or_failed_has_its_reason() {
    let mut run = run(&[PLAIN, (Coding::Lz4, (20.0, 30.0, 65_536))]);
    for trial in run.trials.iter_mut().filter(|trial| trial.coding == Coding::Lz4) {
        trial.outcome = Outcome::Skipped { reason: "axum has no lz4 here".into() };
    }
    let text = compression::render(&run, 100).unwrap();
    assert!(line(&text, "lz4").ends_with("skipped: axum has no lz4 here"), "{text}");
}

#[test]
fn without_plain_messages_nothing_is_compared() {
    let run =
        run(&[(Coding::Zstd, (100.0, 130.0, 65_536)), (Coding::Gzip, (400.0, 400.0, 60_000))]);
    let text = compression::render(&run, 100).unwrap();
    assert!(line(&text, "gzip").ends_with("- -"), "{text}");
}

#[test]
fn another_run_has_no_such_tables_and_a_record_of_codings_is_read_back() {
    let uncoded = Run::new(header(), vec![trial(RUNG, 0, 1000)]);
    assert_eq!(compression::render(&uncoded, 100), None);
    assert_eq!(compression::picture(&uncoded), None);
    let run = run(&[PLAIN, (Coding::Zstd, (100.0, 130.0, 65_536))]);
    let trials = run.trials.iter().map(|trial| Line::Trial(Box::new(trial.clone())));
    let lines = [Line::Header(Box::new(run.header.clone()))].into_iter().chain(trials);
    let text: String = lines.map(|line| serde_json::to_string(&line).unwrap() + "\n").collect();
    assert_eq!(Run::parse(&text).unwrap(), run);
    let plain = text.lines().find(|line| line.contains("\"trial\"")).unwrap();
    assert!(!plain.contains("coding"), "older readers know no coding: {plain}");
    let full = table::render(&run);
    assert!(full.contains("[128, 128] smooth, 1 connection, 1 in flight, coding: zstd"), "{full}");
}

#[test]
fn the_picture_has_a_curve_for_each_coding_and_a_mark_where_it_stops_to_pay() {
    let run = run(&[PLAIN, (Coding::Zstd, (100.0, 130.0, 65_536))]);
    let svg = compression::picture(&run).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 2, "{svg}");
    assert_eq!(svg.matches("class=\"mark zstd\"").count(), 1, "{svg}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}
