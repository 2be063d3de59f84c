//! Records of a run within its page, so that every report can be made from the page.
//!
//! ```text
//! Run ─▶ condense ─▶ lines ─▶ columns ─▶ slot of the page
//! ```
//!
//! A condensed run gives the same reports as the whole one, to the last byte. The page of a main
//! job would be twice as large with the latencies of every single trial.

mod columns;
mod condense;
mod slot;

use serde_json::Value;

use crate::record::Line;

use super::super::Run;
use columns::ColumnsError;

pub(super) use slot::{Slot, UNPACKED_BYTES_MAX};

/// Place of the records in a page.
const SLOT: Slot = Slot { id: "ndecho-records", form: 1 };

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
        "the records are in form {got:?} of a page, but this program reads form {read}; \
         use the program that made the page"
    )]
    Form { got: String, read: u32 },
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
    SLOT.element(&columns::pack(&lines(&condense::condense(run))))
}

/// Returns the element of a page whose records were left out.
pub(super) fn left_out() -> String {
    SLOT.left_out()
}

/// Returns the records of a page as the lines of a file of records.
pub fn extract(page: &str) -> Result<String, PageError> {
    if SLOT.is_left_out(page) {
        return Err(PageError::LeftOut);
    }
    let bytes = SLOT.extract(page)?.ok_or(PageError::NoRecords)?;
    columns::unpack(&bytes, UNPACKED_BYTES_MAX).map_err(|error| match error {
        ColumnsError::TooLarge => PageError::TooLarge,
        error => PageError::Damaged(error.to_string()),
    })
}

fn lines(run: &Run) -> Vec<Value> {
    let header = Line::Header(Box::new(run.header.clone()));
    let conformance = run.conformance.iter().map(|one| Line::Conformance(Box::new(one.clone())));
    let trials = run.trials.iter().map(|trial| Line::Trial(Box::new(trial.clone())));
    let lanes = run.lanes.iter().map(|lane| Line::Lane(Box::new(lane.clone())));
    std::iter::once(header)
        .chain(conformance)
        .chain(trials)
        .chain(lanes)
        .map(|line| serde_json::to_value(line).expect("a record has only text keys"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::{Codec, Malloc, Protocol};
    use crate::record::{Lane, LaneSubject};
    use crate::report::tests::answer;

    /// A run with trials and a lane.
    fn run() -> Run {
        let mut run = answer::run();
        let subject = LaneSubject {
            protocol: Protocol::H2,
            codec: Codec::Npy,
            malloc: Malloc::Default,
            array: run.trials[0].array.clone(),
            in_flight: 8,
            planted: None,
        };
        let counts = Err("valgrind is not installed".to_owned());
        run.lanes = vec![Lane { version: 1, subject, launches: Vec::new(), counts, failure: None }];
        run
    }

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
        assert!(matches!(extract(&other), Err(PageError::Form { got, .. }) if got == "7"));
        let cut = &page[..page.len() / 2];
        assert!(matches!(extract(cut), Err(PageError::Damaged(_))));
        let short = format!("{cut}</script>");
        assert!(matches!(extract(&short), Err(PageError::Damaged(_))), "{:?}", extract(&short));
    }
}
