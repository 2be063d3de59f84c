//! Records of a run within its page, so that every report can be made from the page.
//!
//! ```text
//! Run ─▶ condense ─▶ lines ─▶ columns ─▶ zlib ─▶ base64 ─▶ element of the page
//! ```
//!
//! A condensed run gives the same reports as the whole one, to the last byte. The page of a main
//! job would be twice as large with the latencies of every single trial.

mod columns;
mod condense;

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde_json::Value;

use crate::record::Line;

use super::super::Run;
use columns::ColumnsError;

/// Version of the form that this module gives to records.
const FORM: u32 = 1;

/// Largest size of unpacked records, to limit what a damaged or hostile page can take. A main job
/// has 2 MB.
pub(super) const UNPACKED_BYTES_MAX: usize = 64 << 20;

const START: &str = r#"<script type="text/plain" id="ndecho-records" data-form=""#;
const LEFT_OUT: &str = r#"<script type="text/plain" id="ndecho-records" data-left-out="">"#;
const END: &str = "</script>";

#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error("an HTML file without records: expected a page that `ndecho report DIR --html` made")]
    NoRecords,
    #[error(
        "the page holds no records, since they would have made it too large; \
         use the folder of the run"
    )]
    LeftOut,
    #[error(
        "the records are in form {got:?} of a page, but this program reads form {FORM}; \
         use the program that made the page"
    )]
    Form { got: String },
    #[error("the records of the page are damaged: {0}; make the page again")]
    Damaged(String),
    #[error(
        "the records of the page unpack to more than {UNPACKED_BYTES_MAX} bytes, \
         which no run of this program has"
    )]
    TooLarge,
}

/// Returns the element that holds the records of `run`.
pub(super) fn element(run: &Run) -> String {
    format!("{START}{FORM}\">{}{END}\n", STANDARD.encode(pack(&condense::condense(run))))
}

/// Returns the element of a page whose records were left out.
pub(super) fn left_out() -> String {
    format!("{LEFT_OUT}{END}\n")
}

/// Returns the records of a page as the lines of a file of records.
pub fn extract(page: &str) -> Result<String, PageError> {
    if page.contains(LEFT_OUT) {
        return Err(PageError::LeftOut);
    }
    let (_, rest) = page.split_once(START).ok_or(PageError::NoRecords)?;
    let (form, rest) = rest.split_once("\">").ok_or(PageError::NoRecords)?;
    if form != FORM.to_string() {
        return Err(PageError::Form { got: form.chars().take(20).collect() });
    }
    let (encoded, _) = rest
        .split_once(END)
        .ok_or_else(|| PageError::Damaged("the end of the page is missing".to_owned()))?;
    let packed = STANDARD.decode(encoded.trim());
    unpack(&packed.map_err(|error| PageError::Damaged(error.to_string()))?)
}

fn pack(run: &Run) -> Vec<u8> {
    let header = Line::Header(Box::new(run.header.clone()));
    let conformance = run.conformance.iter().map(|one| Line::Conformance(Box::new(one.clone())));
    let trials = run.trials.iter().map(|trial| Line::Trial(Box::new(trial.clone())));
    let lines: Vec<Value> = std::iter::once(header)
        .chain(conformance)
        .chain(trials)
        .map(|line| serde_json::to_value(line).expect("a record has only text keys"))
        .collect();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&columns::pack(&lines)).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

fn unpack(packed: &[u8]) -> Result<String, PageError> {
    let mut bytes = Vec::new();
    let limit = UNPACKED_BYTES_MAX as u64 + 1;
    ZlibDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| PageError::Damaged(error.to_string()))?;
    if bytes.len() as u64 == limit {
        return Err(PageError::TooLarge);
    }
    columns::unpack(&bytes, UNPACKED_BYTES_MAX).map_err(|error| match error {
        ColumnsError::TooLarge => PageError::TooLarge,
        error => PageError::Damaged(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::answer::run;

    #[test]
    fn a_condensed_run_is_read_back_as_it_is() {
        let condensed = condense::condense(&run());
        let page = format!("<p>{}", element(&run()));
        let read = Run::parse(&extract(&page).expect("records")).expect("version 3");
        assert!(read == condensed, "the records differ");
        assert_eq!(element(&read), element(&run()), "a page of a page is the same");
    }

    #[test]
    fn other_pages_and_damaged_ones_are_refused() {
        let page = element(&run());
        assert!(matches!(extract("<!doctype html>"), Err(PageError::NoRecords)));
        assert!(matches!(extract(&left_out()), Err(PageError::LeftOut)));
        let other = page.replace("data-form=\"1\"", "data-form=\"7\"");
        assert!(matches!(extract(&other), Err(PageError::Form { got }) if got == "7"));
        let cut = &page[..page.len() / 2];
        assert!(matches!(extract(cut), Err(PageError::Damaged(_))));
        let short = format!("{cut}{END}");
        assert!(matches!(extract(&short), Err(PageError::Damaged(_))), "{:?}", extract(&short));
    }

    #[test]
    fn a_page_that_unpacks_without_end_is_refused() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..=UNPACKED_BYTES_MAX >> 20 {
            encoder.write_all(&zeros).expect("a vector takes everything");
        }
        let packed = encoder.finish().expect("a vector takes everything");
        assert!(matches!(unpack(&packed), Err(PageError::TooLarge)));
    }
}
