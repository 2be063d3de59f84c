//! Tests of the page of a run.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::axis::Layer;
use crate::probe::profile::{CallStack, StackFunction, Stacks};
use crate::record::tests::{header, trial, with};
use crate::record::{ArrayInfo, Conformance, Header, Outcome, Trial, VERSION, Variant};
use crate::report::page::{Icicles, PageError, PictureFile};
use crate::report::run::ReportError;
use crate::report::tests::answer::run;
use crate::report::tests::profile::launches;
use crate::report::{Run, answer, csv, page, table};

use super::{closure, planted};

/// Largest script, so that a reader can check it.
const SCRIPT_BYTES_MAX: usize = 6 << 10;

const HOSTILE: &str = "</script><img src=x onerror='alert(1)'>\"--><style>*{}</style>&amp;";

fn html(run: &Run) -> String {
    page::render(run, &Icicles::of_run(run)).html
}

fn picture_files(run: &Run) -> Vec<PictureFile> {
    page::picture_files(run, &Icicles::of_run(run))
}

fn read_back(page: &str) -> Run {
    Run::parse(&page::extract(page).expect("the page has records")).expect("version 3")
}

/// Returns the element of `page` with this anchor, to the end of its section.
fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<section id=\"{name}\"")).expect("the section");
    rest.split_once("</section>").expect("its end").0
}

#[test]
fn the_sentences_and_every_cell_are_there() {
    let (run, page) = (run(), html(&run()));
    for (name, sentences) in answer::in_short(&run).expect("an answer") {
        let sentences = sentences.replace('&', "&amp;").replace('<', "&lt;");
        assert!(page.contains(&format!("<dt>{name}</dt><dd>{sentences}</dd>")), "{name}");
    }
    let cells = section(&page, "all");
    for rung in run.trials.iter().filter(|trial| trial.variant == Variant::Usual) {
        assert!(cells.contains(&rung.rung.replace('/', "/<wbr>")), "{}", rung.rung);
    }
    assert!(section(&page, "waterfall").matches("<figure").count() == 1, "one load has a chain");
    assert!(section(&page, "cost").matches("<figure").count() == 2, "two loads");
    assert!(section(&page, "encodings").contains("<table class=\"heat\">"), "two encodings");
}

#[test]
fn every_report_can_be_made_from_the_page() {
    let run = run();
    let page = html(&run);
    let read = read_back(&page);
    assert_eq!(answer::render(&read, 100), answer::render(&run, 100));
    assert_eq!(answer::picture(&read), answer::picture(&run));
    assert_eq!(table::render(&read), table::render(&run));
    assert_eq!(csv::render(&read), csv::render(&run));
    assert!(html(&read) == page, "the page of a page is another one");
    assert!(html(&run) == page, "the same records give other bytes");
}

#[test]
fn records_of_another_version_are_refused() {
    let other = Run { header: Header { version: VERSION + 1, ..header() }, ..run() };
    let text = page::extract(&html(&other)).expect("records");
    let error = Run::parse(&text).expect_err("another version");
    assert!(matches!(error, ReportError::Version { got } if got == VERSION + 1), "{error}");
}

/// A run in which every text of the records is hostile.
fn hostile() -> Run {
    let text = || HOSTILE.to_owned();
    let mut run = run();
    let header = &mut run.header;
    header.argv = vec![text()];
    header.client = Some(text());
    (header.host.cpu_model, header.host.kernel) = (text(), text());
    header.host.sysctl.insert(text(), text());
    header.host.mitigations.insert(text(), text());
    header.external_versions.insert(text(), text());
    header.build.crates.insert(text(), text());
    (header.build.settings, header.build.commit) = (text(), Some(text()));
    for trial in &mut run.trials {
        trial.array.dtype = format!("é{HOSTILE}");
        trial.parent = Some(text());
    }
    let failed = || Outcome::Failed { reason: text(), stderr: text() };
    let skipped = || Outcome::Skipped { reason: text() };
    for (cell, rung) in (60..).zip([HOSTILE.to_owned(), format!("external/{HOSTILE}/{HOSTILE}:x")])
    {
        let array = run.trials[0].array.clone();
        let all: Vec<Trial> = (0..6)
            .map(|round| Trial { cell, array: array.clone(), ..trial(&rung, round, 1000) })
            .collect();
        let others = [failed(), skipped()].map(|outcome| {
            with(Trial { cell: cell + 10, discarded: Some(text()), ..all[0].clone() }, outcome)
        });
        run.trials.extend(all);
        run.trials.extend(others);
    }
    run.trials.push(Trial {
        array: ArrayInfo { dtype: String::new(), ..ArrayInfo::default() },
        ..trial(HOSTILE, 0, 1)
    });
    run.conformance.push(Conformance {
        rung: text(),
        left_out: text(),
        failure: Some(failed()),
        ..Conformance::default()
    });
    run
}

#[test]
fn hostile_names_are_text_everywhere() {
    let (plain, page) = (html(&run()), html(&hostile()));
    assert!(page.contains("&lt;/script&gt;&lt;img"), "the names are there");
    for mark in ["<img", "<script", "<style", "</script", "</style", "<!--", "-->"] {
        assert_eq!(page.matches(mark).count(), plain.matches(mark).count(), "{mark}");
    }
    assert_eq!(read_back(&page), read_back(&html(&read_back(&page))));
    for file in picture_files(&hostile()) {
        assert!(!file.text.contains("<img") || file.name.ends_with(".csv"), "{}", file.name);
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-.".contains(letter);
        assert!(file.name.chars().all(is_plain), "{}", file.name);
    }
}

#[test]
fn nothing_is_loaded_and_only_the_own_script_runs() {
    let page = html(&run());
    let policy = page.split("Content-Security-Policy\" content=\"").nth(1).expect("a policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy:.80}");
    for banned in ["http://", "https://", "url(", "@import", " src=", " style=", " onclick"] {
        let found = page.matches(banned).count();
        assert_eq!(found, 0, "{banned}");
    }
    let part = |start: &str, end: &str| -> String {
        let (_, rest) = page.split_once(start).expect("the part");
        rest.split_once(end).expect("its end").0.to_owned()
    };
    let script = part("<script>", "</script>");
    assert!(script.len() <= SCRIPT_BYTES_MAX, "{} bytes of script", script.len());
    for (name, text) in [("style", part("<style>", "</style>")), ("script", script)] {
        let hash = sha256(&text);
        assert!(page.contains(&format!("{name}-src 'sha256-{hash}'")), "{name}: {hash}");
    }
}

/// Returns the SHA-256 of `text` in base64, by the program of coreutils.
fn sha256(text: &str) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha256sum of coreutils");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let hex = String::from_utf8(output.stdout).expect("hex digits");
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two hex digits");
    STANDARD.encode((0..32).map(|index| byte(2 * index)).collect::<Vec<u8>>())
}

#[test]
fn what_a_run_lacks_is_named_with_the_command_for_it() {
    let page = html(&run());
    for (name, command) in [
        ("size", "--sizes"),
        ("layers", "ndecho profile "),
        ("icicles", "ndecho profile "),
        ("closure", "ndecho ladder --attribute"),
        ("lanes", "ndecho ladder --attribute"),
        ("counts", "--counts"),
    ] {
        let section = section(&page, name);
        assert!(section.contains("To measure it:"), "{section}");
        assert!(section.contains(command), "{section}");
    }
    assert!(section(&page, "layers").contains("tokio/hyper-h2:tuned/protobuf:prost"));
    let other = html(&Run::new(Header { preset: "broad".into(), ..header() }, Vec::new()));
    assert!(section(&other, "short").contains("other questions"), "a run without an answer");
    assert!(section(&other, "waterfall").contains("To measure it:"));
}

#[test]
fn profiled_rungs_have_their_layers_in_a_table_and_below_the_rung() {
    let chain = ["uring/raw/protobuf:prost", "uring/h2/protobuf:prost", "tokio/h2/protobuf:prost"];
    let trials = (0..).zip(chain).flat_map(|(number, rung)| launches(2 * number, rung, 400));
    let page = html(&Run::new(Header { preset: "profile".into(), ..header() }, trials.collect()));
    let layers = section(&page, "layers");
    assert!(layers.contains(">HTTP framing</th>") && layers.contains("4.00 µs"), "{layers}");
    let waterfall = section(&page, "waterfall");
    assert!(waterfall.matches("<rect class=\"http-framing\"").count() == 3, "{waterfall}");
    assert!(waterfall.contains("class=\"key layer http-framing\""), "{waterfall}");
}

#[test]
fn several_sizes_have_lines_and_the_sizes_at_which_the_order_changes() {
    let sized = |(cell, rung, fixed, each): (u32, &str, u64, u64), bytes: u64, round: u32| {
        let array =
            ArrayInfo { dtype: "<f8".into(), shape: vec![bytes / 8], bytes, data_set: None };
        let cost = (fixed + each * bytes / 64) * u64::from(100 + round % 3) / 100;
        Trial { cell: cell + bytes as u32, array, ..trial(rung, round, cost) }
    };
    let rungs = [(0, "uring/h2/protobuf", 1000, 64), (1, "tokio/tonic/protobuf:prost", 9000, 8)];
    let mut trials = Vec::new();
    for round in 0..6 {
        for bytes in [8, 4096, 65_536] {
            trials.extend(rungs.map(|rung| sized(rung, bytes, round)));
        }
    }
    let page = html(&Run::new(Header { preset: "broad".into(), ..header() }, trials));
    let size = section(&page, "size");
    let want = "Up to 4 KiB uring/h2/protobuf is the cheaper, from 64 KiB on tokio/tonic";
    assert!(size.contains(want), "{size}");
    // 1000 + n = 9000 + n / 8
    assert!(size.contains("Their lines cross at about 8.89 KiB."), "{size}");
    assert_eq!(size.matches("<path").count(), 2, "{size}");
    assert_eq!(size.matches("<circle").count(), 6, "{size}");
}

#[test]
fn each_picture_is_a_file_with_its_figures() {
    let files = picture_files(&run());
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names.len(), 8, "{names:?}");
    for pair in files.chunks(2) {
        let [svg, csv] = pair else { panic!("{names:?}") };
        assert!(svg.text.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{}", svg.name);
        assert!(!svg.text.contains("var("), "{}: colours without the page", svg.name);
        assert_eq!(svg.name.replace(".svg", ".csv"), csv.name);
        assert!(csv.text.lines().count() > 3, "{}", csv.text);
    }
}

#[test]
fn a_page_that_would_be_too_large_leaves_its_records_out() {
    let mut run = run();
    let mut state = 1_u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{:016x}", state >> 1)
    };
    run.trials[0].socket_failure = Some((0..40_000).map(|_| word()).collect());
    let page = page::render(&run, &Icicles::default());
    assert!(!page.holds_records && page.html.len() > 1000, "{}", page.html.len());
    let error = page::extract(&page.html).expect_err("no records");
    assert!(error.to_string().contains("use the folder of the run"), "{error}");
}

/// Run of profiled servers with call stacks: one function of half of all 1000 samples of a launch
/// has some callers of `each` samples.
fn with_stacks(servers: u32, callers: u64, each: u64) -> Run {
    let rest = 500 - callers * each;
    let of = |name: &str, layer: Option<Layer>| StackFunction { name: name.to_owned(), layer };
    let index = of("h2/proto/store.rs index", Some(Layer::HttpFraming));
    let socket = of(HOSTILE, Some(Layer::KernelSocket));
    let callers: Vec<StackFunction> = (0..callers)
        .map(|number| of(&format!("tonic/caller_{number}.rs call"), Some(Layer::Framework)))
        .collect();
    let stack = |functions: Vec<&'_ StackFunction>, layer, samples| {
        (functions.into_iter().cloned().collect::<Vec<_>>(), layer, samples)
    };
    let mut rows = vec![
        stack(vec![&index], Layer::HttpFraming, 500),
        stack(vec![&socket], Layer::KernelSocket, rest),
    ];
    rows.extend(callers.iter().map(|it| stack(vec![it, &socket], Layer::KernelSocket, each)));
    let stacks: Stacks = rows
        .iter()
        .map(|(functions, layer, samples)| CallStack {
            functions: functions.iter().collect(),
            decided: functions.len() - 1,
            layer: *layer,
            samples: *samples,
        })
        .collect();
    let mut trials: Vec<Trial> = (0..servers)
        .flat_map(|number| launches(2 * number, &format!("external/x{number}/npy"), 400))
        .collect();
    for profile in trials.iter_mut().filter_map(|trial| trial.profile.as_mut()) {
        profile.stacks = stacks.clone();
    }
    Run::new(Header { preset: "profile".into(), ..header() }, trials)
}

#[test]
fn functions_inside_a_layer_are_an_icicle_that_folds_thin_ones() {
    let run = with_stacks(2, 50, 1);
    let page = html(&run);
    let icicles = section(&page, "icicles");
    assert_eq!(icicles.matches("<figure").count(), 2, "{icicles}");
    // The hostile name stands below its layer, and 50 callers of 0.1 % share an area of 5 %.
    for part in [
        "<title>proto/store.rs (HTTP framing): 50.0 %</title>",
        "<title>HTTP framing (HTTP framing): 50.0 %</title><rect class=\"http-framing area\"",
        "<title>50 more (kernel socket): 5.0 %</title>",
        "6000 samples.",
        "Folded or left out: 50 names below 0.5 % of the samples.",
        "&quot;--&gt;&lt;style&gt;*{}",
    ] {
        assert!(icicles.contains(part), "{part}: {icicles}");
    }
    assert!(!icicles.contains("caller_7"), "a thin name has no area");
    let files = picture_files(&run);
    let pictures: Vec<&PictureFile> =
        files.iter().filter(|file| file.name.starts_with("icicle-external-x1-npy--")).collect();
    let [svg, csv] = pictures[..] else { panic!("{}", pictures.len()) };
    assert!(svg.name.ends_with(".svg") && svg.text.contains("50 more"), "{}", svg.text);
    assert!(csv.text.contains("0,HTTP framing,HTTP framing,3000"), "{}", csv.text);
}

#[test]
fn icicles_are_made_from_the_page_again() {
    let run = with_stacks(2, 300, 1);
    let page = html(&run);
    let read = read_back(&page);
    let icicles = Icicles::extract(&page).expect("icicles");
    assert!(page::render(&read, &icicles).html == page, "the page of a page is another one");
    let names = |files: Vec<PictureFile>| -> Vec<(String, String)> {
        files.into_iter().map(|file| (file.name, file.text)).collect()
    };
    assert_eq!(names(page::picture_files(&read, &icicles)), names(picture_files(&run)));
    let damaged =
        page.replace("ndecho-icicles\" data-form=\"1\">", "ndecho-icicles\" data-form=\"1\">A");
    assert!(matches!(Icicles::extract(&damaged), Err(PageError::Damaged(_))));
    let without = page::render(&read, &Icicles::default()).html;
    let icicles = section(&without, "icicles");
    assert!(icicles.contains("not beside its records"), "{icicles}");
}

#[test]
fn a_page_without_room_for_its_icicles_folds_more_or_leaves_some_out() {
    let [few, many] = [with_stacks(2, 90, 5), with_stacks(20, 90, 5)].map(|run| html(&run));
    let wide = html(&with_stacks(60, 12, 40));
    for (page, least) in [(&few, "0.5 %"), (&many, "1 %")] {
        let icicles = section(page, "icicles");
        assert!(icicles.contains(&format!("below {least} of the samples")) == (least == "1 %"));
        assert_eq!(icicles.contains("caller_7.rs"), least == "0.5 %");
        assert!(!icicles.contains("no room"));
    }
    for page in [&many, &wide] {
        assert!(page.len() <= page::PAGE_BYTES_MAX, "{}", page.len());
        let again = page::render(&read_back(page), &Icicles::extract(page).expect("icicles"));
        assert!(again.html == *page, "the page of a page is another one");
    }
    let icicles = section(&wide, "icicles");
    assert!(icicles.contains("have no room in a page of this size"), "{icicles:.2000}");
    let shown = icicles.matches("<figure").count();
    assert!((1..60).contains(&shown), "{shown}");
    assert!(icicles.contains(&format!("of {} other servers", 60 - shown)), "{shown}");
}

#[test]
fn a_chain_takes_another_codec_of_the_encoding_where_its_own_was_not_measured() {
    let rungs =
        ["uring/raw/protobuf", "uring/h2/protobuf", "tokio/h2/protobuf:prost", "uring/h1/npy"];
    let trials = (0..).zip(rungs).flat_map(|(number, rung)| launches(2 * number, rung, 400));
    let page = html(&Run::new(Header { preset: "profile".into(), ..header() }, trials.collect()));
    let waterfall = section(&page, "waterfall");
    assert_eq!(waterfall.matches("<figure").count(), 1, "{waterfall}");
    for name in ["uring/raw/protobuf", "uring/h2/protobuf", "tokio/h2/protobuf:prost"] {
        assert!(waterfall.contains(&format!(">{name}</text>")), "{name}: {waterfall}");
    }
    assert!(waterfall.contains("a step between two codecs"), "{waterfall}");
    assert!(!waterfall.contains("npy"), "{waterfall}");
}

#[test]
fn a_split_ladder_has_a_row_for_each_pair_with_its_leak() {
    let child =
        [(Layer::CodecDecode, 2600), (Layer::HttpFraming, 4000), (Layer::KernelSocket, 1000)];
    let run = closure::run(closure::PARENT_LAYERS, &child);
    let page = html(&run);
    let section = section(&page, "closure");
    for part in [
        "Closed: 0 of 1 pairs",
        "less uring/raw/protobuf</text>",
        ">unattributed</text>",
        "by the clock +3.780 µs",
        "leak +0.630 µs",
        "uring/h2/protobuf: NOT closed",
        "<td class=\"may\" title=\"+3.150 µs",
        "<rect class=\"http-framing\"",
    ] {
        assert!(section.contains(part), "{part}: {section}");
    }
    let pale = |class: &str| {
        let bar = section.split(&format!("<rect class=\"{class}\"")).nth(1).expect("a bar");
        bar.split_once("/>").expect("its end").0.contains("fill-opacity")
    };
    assert!(pale("codec-decode") && !pale("http-framing"), "{section}");
    let files = picture_files(&run);
    let csv = files.iter().find(|it| it.name.starts_with("closure-") && it.name.ends_with("csv"));
    let csv = &csv.expect("the figures").text;
    assert!(csv.contains("uring/h2/protobuf,uring/raw/protobuf,leak,false,630.0,"), "{csv}");
    assert!(csv.contains("uring/h2/protobuf,uring/raw/protobuf,HTTP framing,true,3150"), "{csv}");
    assert!(html(&read_back(&page)) == page, "the page of a page is another one");
}

#[test]
fn planted_costs_stand_below_the_pairs() {
    let planted = planted::with(Layer::Runtime, 500);
    let page = html(&planted::run(planted::OWN, Layer::Runtime, &planted));
    let section = section(&page, "closure");
    for part in ["1 of 1 known costs were found", "500 ns in runtime</text>", ">found</text>"] {
        assert!(section.contains(part), "{part}: {section}");
    }
    assert!(section.contains("500 ns were planted in runtime: found."), "{section}");
}
