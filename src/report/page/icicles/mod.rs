//! Icicles of the profiled servers: where the samples of each layer lie, down to functions.
//!
//! Call stacks lie in a file beside the records and are much larger than a page may be. So a page
//! has them folded, as finely as fits, and holds them in this form. A page that is made from a page
//! shows the same.
//!
//! ```text
//! stacks ─▶ fold ─▶ draw ─▶ section and pictures
//!                └▶ element ─▶ page ─▶ the same icicles
//! ```

mod draw;
mod element;
mod fold;

use std::collections::BTreeSet;

use super::super::Run;
use super::super::stacks::Profiled;
use super::super::units;
use super::figure::Figure;
use super::records::PageError;
use super::{layers, text};

use fold::{Icicle, ROWS_MAX};

/// Shares of the samples from which a name has an area of its own: the first is taken with which
/// the page is not too large.
const LEAST_PERMILLE: [u64; 4] = [5, 10, 20, 40];

/// Icicles of a run, or of a page.
#[derive(Clone, Debug, Default)]
pub struct Icicles(Source);

#[derive(Clone, Debug)]
enum Source {
    Stacks(Vec<Profiled>),
    Page(Folded),
}

/// Icicles that a page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Folded {
    icicles: Vec<Icicle>,
    /// Icicles for which the page has no room.
    left_out: usize,
}

impl Default for Source {
    fn default() -> Source {
        Source::Page(Folded::default())
    }
}

impl Icicles {
    /// Takes the call stacks that the profiles of `run` have.
    pub fn of_run(run: &Run) -> Icicles {
        Icicles(Source::Stacks(Profiled::of_run(run)))
    }

    /// Takes the icicles of a page.
    pub fn extract(page: &str) -> Result<Icicles, PageError> {
        Ok(Icicles(Source::Page(element::extract(page)?)))
    }

    /// Returns the icicles in ever fewer areas, at last none.
    pub(super) fn candidates(&self) -> Box<dyn Iterator<Item = Folded> + '_> {
        let stacks = match &self.0 {
            Source::Page(folded) => {
                let left_out = folded.left_out + folded.icicles.len();
                let none = Folded { icicles: Vec::new(), left_out };
                return Box::new([folded.clone(), none].into_iter());
            }
            Source::Stacks(stacks) => stacks,
        };
        let [.., coarsest] = LEAST_PERMILLE;
        let all = stacks.len();
        let halves = std::iter::successors(Some(all / 2), |count| (*count > 0).then(|| count / 2));
        let finer = LEAST_PERMILLE.into_iter().map(move |least| (least, all));
        let candidates = finer.chain(halves.map(move |count| (coarsest, count)));
        Box::new(candidates.map(|(least, count)| fold(stacks, least, count)))
    }

    /// Returns a figure of each icicle, those included for which a page has no room.
    pub(super) fn figures(&self) -> Vec<Figure> {
        match &self.0 {
            Source::Page(folded) => draw::figures(folded),
            Source::Stacks(stacks) => draw::figures(&fold(stacks, LEAST_PERMILLE[0], stacks.len())),
        }
    }
}

fn fold(stacks: &[Profiled], least_permille: u64, count: usize) -> Folded {
    let shown = &stacks[..count];
    Folded {
        icicles: shown.iter().map(|profiled| Icicle::fold(profiled, least_permille)).collect(),
        left_out: stacks.len() - count,
    }
}

impl Folded {
    pub(super) fn element(&self) -> String {
        element::element(self)
    }

    /// Returns the section of a page. `is_profiled` tells a run whose stacks are not there from one
    /// without samples.
    pub(super) fn section(&self, is_profiled: bool, profile_command: &str) -> String {
        let figures = draw::figures(self);
        if figures.is_empty() && self.left_out == 0 {
            return match is_profiled {
                true => "<p>The call stacks of this run were not beside its records, in the file \
                         <code>stacks.jsonl</code>.</p>\n"
                    .to_owned(),
                false => text::missing("No call stacks were recorded", profile_command),
            };
        }
        let mut html = format!(
            "<p>The width of an area is its share of the samples. Below a layer stand crate, source \
             file and function that decided it, then the callers that have a layer themselves, to \
             row {ROWS_MAX} below the layers. Stacks are recorded from the inside, as far as they \
             were copied. Point at an area for its name and share.</p>\n"
        );
        if self.left_out > 0 {
            let servers = match self.left_out {
                1 => "icicle of another server has".to_owned(),
                count => format!("icicles of {count} other servers have"),
            };
            html.push_str(&format!(
                "<p>The {servers} no room in a page of this size. \
                 <code>ndecho report DIR --pictures FOLDER</code> draws all.</p>\n"
            ));
        }
        let all = self.icicles.iter().flat_map(|icicle| &icicle.areas);
        let are_there: BTreeSet<_> = all.map(|area| area.layer).collect();
        html.push_str(&layers::legend(&are_there));
        html.extend(figures.iter().map(Figure::html));
        html
    }
}

/// `1 %`, `0.5 %`.
fn percent(permille: u64) -> String {
    match (permille / 10, permille % 10) {
        (whole, 0) => format!("{whole} %"),
        (whole, part) => format!("{whole}.{part} %"),
    }
}

/// Returns the sentence about the samples of an icicle and what is folded.
fn note(icicle: &Icicle) -> String {
    let Icicle { samples, least_permille, folded, is_cut, .. } = icicle;
    let mut note = format!("{} samples.", units::count(*samples as f64));
    if *folded > 0 {
        let names = if *folded == 1 { "name" } else { "names" };
        let least = percent(*least_permille);
        note.push_str(&format!(
            " Folded or left out: {folded} {names} below {least} of the samples."
        ));
    }
    if *is_cut {
        note.push_str(" Further callers are left out.");
    }
    note
}
