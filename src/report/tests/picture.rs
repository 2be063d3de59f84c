//! Tests of the picture of the main job's answer.

use crate::record::Header;
use crate::record::tests::header;
use crate::report::Run;
use crate::report::answer;
use crate::report::tests::answer::run;

fn picture(run: &Run) -> String {
    answer::picture(run).expect("the run has the rungs of the main job")
}

/// Returns the text elements of `svg`, with their classes.
fn texts(svg: &str) -> Vec<(&str, &str)> {
    let elements = svg.lines().filter_map(|line| line.strip_prefix("<text class=\""));
    elements
        .map(|element| {
            let (class, rest) = element.split_once('"').expect("the class ends");
            let (_, text) = rest.split_once('>').expect("the element's head ends");
            (class, text.strip_suffix("</text>").expect("the element ends"))
        })
        .collect()
}

#[test]
fn every_figure_of_the_tables_is_a_text_of_the_picture() {
    let (run, mut figures) = (run(), 0);
    let (tables, svg) = (answer::render(&run, 100).expect("an answer"), picture(&run));
    let texts = texts(&svg);
    for line in tables.lines().take_while(|line| *line != "In short") {
        for interval in line.split('[').skip(1).filter_map(|rest| rest.split_once(']')) {
            let (interval, _) = interval;
            if interval.contains('-') {
                let shown = format!("[{interval}]");
                assert!(texts.iter().any(|(_, text)| text.contains(&shown)), "{shown}: {line}");
                figures += 1;
            }
        }
    }
    assert!(figures > 10, "{figures} figures in\n{tables}");
}

#[test]
fn each_kind_of_server_has_bars_and_a_colour_in_both_modes() {
    let svg = picture(&run());
    let (light, dark) = svg.split_once("@media (prefers-color-scheme: dark)").expect("two modes");
    let (dark, body) = dark.split_once("</style>").expect("the style ends");
    for kind in ["ours", "standard", "best", "layer"] {
        let rule = format!(".{kind} {{ fill: ");
        assert!(light.contains(&rule) && dark.contains(&rule), "{kind}");
        assert!(body.matches(&format!("<rect class=\"{kind}\"")).count() >= 2, "{kind}\n{svg}");
    }
    assert!(body.contains("whisker faint"), "a difference that was not shown is marked");
}

#[test]
fn servers_have_bars_even_if_few_launches_give_no_interval() {
    let mut run = run();
    run.trials.retain(|trial| trial.round < 2);
    let svg = picture(&run);
    assert!(svg.matches("<rect class=\"ours\"").count() > 5, "{svg}");
    assert!(!svg.contains("class=\"whisker"), "{svg}");
    assert!(texts(&svg).iter().any(|(_, text)| *text == "? times .npy"), "{svg}");
}

#[test]
fn everything_lies_within_the_page() {
    let svg = picture(&run());
    let mut count = 0;
    for (name, limit) in [("x", 900.0), ("x1", 900.0), ("x2", 900.0), ("width", 900.0)] {
        for value in svg.split(&format!(" {name}=\"")).skip(1) {
            let value: f64 = value.split('"').next().and_then(|v| v.parse().ok()).expect("pixels");
            assert!((0.0..=limit).contains(&value), "{name}={value}\n{svg}");
            count += 1;
        }
    }
    assert!(count > 100, "{count} coordinates");
}

#[test]
fn it_loads_and_runs_nothing_and_its_text_is_escaped() {
    let mut run = run();
    run.header.host.cpu_model = "<script>\"A&B\"\u{7}".into();
    let svg = picture(&run);
    assert!(svg.contains("&lt;script&gt;&quot;A&amp;B&quot;\u{fffd}, "), "{svg}");
    for banned in ["<script", "<image", "href", "url(", "@import", "\u{7}"] {
        assert!(!svg.contains(banned), "{banned}");
    }
    assert_eq!(svg.matches("http").count(), 1, "only the namespace is an address");
}

#[test]
fn it_is_read_to_those_who_do_not_see_it() {
    let svg = picture(&run());
    let description = svg.split("<desc id=\"description\">").nth(1).expect("a description");
    for (name, sentences) in answer::in_short(&run()).expect("an answer") {
        let sentences = sentences.replace('<', "&lt;");
        assert!(description.contains(&format!("{name}: {sentences}")), "{name}\n{svg}");
    }
    assert!(svg.contains("<title id=\"title\">What a call costs the server"));
}

#[test]
fn a_run_without_an_answer_has_no_picture() {
    let broad = Run { header: Header { preset: "broad".into(), ..header() }, ..run() };
    assert_eq!((answer::picture(&broad), answer::in_short(&broad)), (None, None));
}
