//! Promises of `ndecho report DIR --html`: the page reads back to the same reports, and says what
//! is wrong with a file that is no page.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const NDECHO: &str = env!("CARGO_BIN_EXE_ndecho");

/// Record of a main job.
const MAIN: &str = "docs/results/main";

/// Record with every kind of row.
const EVERY_ROW: &str = "tests/data/report/records.jsonl";

/// First five launches of a ladder whose servers were sampled, with call stacks.
const SAMPLED: &str = "tests/data/page/attribute";

fn ndecho(args: &[&str]) -> Output {
    Command::new(NDECHO).args(args).output().expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
}

/// Writes the page of `record` into `folder`. Returns its path.
fn page(folder: &TempDir, record: &str) -> String {
    let path = folder.path().join("page.html").to_str().expect("text").to_owned();
    assert_done(&ndecho(&["report", record, "--html", &path]));
    path
}

/// Asserts that a command prints the same for the page as for the record.
fn assert_same(page: &str, record: &str, args: &dyn Fn(&str) -> Vec<String>) {
    let run = |place: &str| {
        let args = args(place);
        ndecho(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (of_page, of_record) = (run(page), run(record));
    assert_eq!(of_page.status, of_record.status, "{}", text(&of_page.stderr));
    assert!(of_page.stdout == of_record.stdout, "{:?}: {}", args(page), text(&of_page.stdout));
    assert!(!of_page.stdout.is_empty(), "{:?}", args(page));
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn the_page_of_a_main_job_is_small_and_reads_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = page(&folder, MAIN);
    let bytes = fs::metadata(&page).expect("it was written").len();
    assert!(bytes <= ndecho::report::page::PAGE_BYTES_MAX as u64, "{bytes}");
    assert_same(&page, MAIN, &|place| words(&["report", place]));
    assert_same(&page, MAIN, &|place| words(&["compare", place, place]));
}

#[test]
fn every_format_can_be_made_from_the_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = page(&folder, EVERY_ROW);
    for format in ["table", "csv", "markdown", "seed"] {
        assert_same(&page, EVERY_ROW, &|place| words(&["report", place, "--format", format]));
    }
    assert_same(&page, EVERY_ROW, &|place| words(&["report", place, "--html"]));
}

#[test]
fn pictures_are_files_with_their_figures() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("new/pictures");
    let output = ndecho(&["report", EVERY_ROW, "--pictures", place.to_str().expect("text")]);
    assert_done(&output);
    let names: Vec<&str> = text(&output.stdout).lines().collect();
    assert!(names.iter().any(|name| name.ends_with("cost-8-B--1x1000.svg")), "{names:?}");
    for name in names {
        assert!(fs::read_to_string(name).expect("it was written").len() > 50, "{name}");
    }
}

#[test]
fn icicles_of_a_folder_are_in_its_page_and_in_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = page(&folder, SAMPLED);
    let html = fs::read_to_string(&page).expect("it was written");
    assert!(html.len() <= ndecho::report::page::PAGE_BYTES_MAX, "{}", html.len());
    assert_eq!(html.matches("<figure class=\"card\" id=\"icicle-").count(), 2, "two servers");
    assert!(
        html.contains("less uring/<wbr>raw/<wbr>protobuf: protocol</small>"),
        "the split is there"
    );
    assert_same(&page, SAMPLED, &|place| words(&["report", place, "--html"]));
    assert_same(&page, SAMPLED, &|place| words(&["report", place]));
    let icicles = |place: &str, folder: &Path| -> Vec<String> {
        let pictures = folder.to_str().expect("text");
        let output = ndecho(&["report", place, "--pictures", pictures]);
        assert_done(&output);
        let names = text(&output.stdout).lines().filter(|name| name.contains("icicle-"));
        names.map(|name| fs::read_to_string(name).expect("it was written")).collect()
    };
    let of_record = icicles(SAMPLED, &folder.path().join("one"));
    assert_eq!(of_record.len(), 4, "each has a picture and its figures");
    assert!(of_record[0].contains("<title>codec decode (codec decode): "), "{}", of_record[0]);
    assert_eq!(icicles(&page, &folder.path().join("other")), of_record);
}

#[test]
fn a_folder_without_its_stacks_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = Path::new(SAMPLED).join("records.jsonl.gz");
    fs::copy(record, folder.path().join("records.jsonl.gz")).expect("a record");
    let output = ndecho(&["report", folder.path().to_str().expect("text"), "--html"]);
    assert_done(&output);
    assert!(text(&output.stdout).contains("not beside its records"), "the reason is told");
}

#[test]
fn a_file_that_is_no_page_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = page(&folder, EVERY_ROW);
    let whole = fs::read_to_string(&page).expect("it was written");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    let other = file("other.html", "<!DOCTYPE html>\n<p>Hello");
    let cut = file("cut.html", &whole[..whole.len() - 6000]);
    let newer = file("newer.html", &whole.replace("data-form=\"1\"", "data-form=\"2\""));
    for (path, message) in [
        (other, "expected a page that `ndecho report DIR --html` made"),
        (cut, "the records of the page are damaged"),
        (newer, "use the program that made the page"),
    ] {
        let output = ndecho(&["report", &path]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        assert!(text(&output.stderr).contains(message), "{path}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(Path::new(&path).to_str().expect("text")));
    }
    let both = ndecho(&["compare", &page, NDECHO]);
    assert_eq!(both.status.code(), Some(2), "a page and a program");
}
