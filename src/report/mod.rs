//! Records in, text out: a terminal table, Markdown, CSV, and the original benchmark's form.
//!
//! Nothing here runs anything or asks the machine: the same records give the same text, anywhere.
//! [`delta`] turns trials into rows once, with [`status`], [`noise`] and [`control`]; [`model`] and [`open`] make the
//! figures that take several cells; the other files only lay out.

pub mod compare;
pub mod control;
pub mod counts;
pub mod csv;
pub mod delta;
pub mod markdown;
pub mod model;
pub mod noise;
pub mod open;
pub mod seed;
mod speed;
pub mod status;
pub mod table;
pub mod units;

use serde::Deserialize;

use crate::record::{Conformance, Header, Line, Side, Trial, VERSION, Variant};
use crate::stats::bootstrap::UNITS_MIN;

/// A run as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What holds for all of it.
    pub header: Header,
    /// In the order they were made.
    pub trials: Vec<Trial>,
    /// What rungs said to arrays of every kind.
    pub conformance: Vec<Conformance>,
}

/// As much of a first line as every version has.
#[derive(Deserialize)]
struct FirstLine {
    header: Versioned,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why a text is not a run's records.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No header line.
    #[error("no records: the first line is not a header")]
    Header,
    /// Another format.
    #[error("records of version {got}, this program reads {VERSION}")]
    Version {
        /// Version found.
        got: u32,
    },
    /// A line that is no trial.
    #[error("line {at}: {source}")]
    Line {
        /// Which, from 1.
        at: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Run {
    /// Reads a file of records. A last line cut short, as a killed run leaves it, is dropped.
    pub fn parse(text: &str) -> Result<Run, ReportError> {
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let mut lines = whole.lines().enumerate();
        let (_, first) = lines.next().ok_or(ReportError::Header)?;
        // The version comes first: another one may have other fields.
        if let Ok(FirstLine { header }) = serde_json::from_str(first)
            && header.version != VERSION
        {
            return Err(ReportError::Version { got: header.version });
        }
        let header = match serde_json::from_str(first) {
            Ok(Line::Header(header)) => header,
            Ok(Line::Trial(_) | Line::Conformance(_)) => return Err(ReportError::Header),
            Err(source) if first.starts_with(r#"{"header""#) => {
                return Err(ReportError::Line { at: 1, source });
            }
            Err(_) => return Err(ReportError::Header),
        };
        let mut run = Run::new(*header, Vec::new());
        for (index, line) in lines {
            match serde_json::from_str(line) {
                Ok(Line::Trial(trial)) => run.trials.push(*trial),
                Ok(Line::Conformance(conformance)) => run.conformance.push(*conformance),
                Ok(Line::Header(_)) => {}
                Err(source) => return Err(ReportError::Line { at: index + 1, source }),
            }
        }
        Ok(run)
    }

    /// A run of `trials` whose rungs were asked nothing before.
    pub fn new(header: Header, trials: Vec<Trial>) -> Run {
        Run { header, trials, conformance: Vec::new() }
    }

    /// One line on where and how it was made.
    pub fn machine(&self) -> String {
        let host = &self.header.host;
        let build = &self.header.build;
        let parts = [
            host.cpu_model.clone(),
            format!("{} cores", host.cores.len()),
            if host.virtual_machine { "virtual machine".to_owned() } else { String::new() },
            format!("Linux {}", host.kernel.split(' ').next().unwrap_or_default()),
            format!("rustc {}", build.rustc.split(' ').next().unwrap_or_default()),
            format!("{} build", build.profile),
            build.allocator.clone(),
            format!("{} blocks", self.blocks()),
            units::date(self.header.started_unix_s),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// How many rungs answered arrays of every kind before they were measured, and which did not; `None` where none was
    /// asked.
    pub fn conformance(&self) -> Option<String> {
        let name = |of: &Conformance| match &of.build {
            Some(Variant::Build { side: Side::Old, .. }) => format!("old {}", of.rung),
            Some(Variant::Build { side: Side::New, .. }) => format!("new {}", of.rung),
            _ => of.rung.clone(),
        };
        let (right, wrong): (Vec<&Conformance>, Vec<&Conformance>) =
            self.conformance.iter().partition(|conformance| conformance.failure.is_none());
        let wrong: Vec<String> = wrong.into_iter().map(name).collect();
        let (count, all) = (right.len(), self.conformance.len());
        let which =
            if wrong.is_empty() { String::new() } else { format!(", not {}", wrong.join(", ")) };
        (all > 0).then(|| {
            format!(
                "arrays of every type, byte order and shape were answered rightly by {count} of {all} rungs{which}"
            )
        })
    }

    /// What has to be known before the figures are believed, if anything.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(client) = &self.header.client {
            warnings.push(format!(
                "{client} loaded the servers and timed itself: rates are what it reached, its own work included"
            ));
        }
        if self.shares_core() {
            let what =
                "server and load generator shared one core: rates and latencies are not shown";
            warnings.push(what.to_owned());
        }
        let (discarded, all) = delta::discarded(&self.trials);
        if discarded > 0 {
            warnings
                .push(format!("{discarded} of {all} trials were discarded: {}", self.most_often()));
        }
        warnings.extend(speed::warning(&self.trials));
        let blocks = self.blocks();
        if blocks < UNITS_MIN as u32 {
            warnings.push(format!(
                "{blocks} blocks: no interval can be had of fewer than {UNITS_MIN}, and no difference shown"
            ));
        }
        if self.header.build.profile == "debug" {
            warnings.push("a debug build: its figures say nothing about speed".to_owned());
        }
        warnings
    }

    /// Blocks that were tried, the last one perhaps in part.
    pub fn blocks(&self) -> u32 {
        self.trials.iter().map(|trial| trial.round + 1).max().unwrap_or(0)
    }

    /// The reason that the most trials were discarded for, as it was given the first time.
    fn most_often(&self) -> &str {
        let reasons = || self.trials.iter().filter_map(|trial| trial.discarded.as_deref());
        // What a reason is about stands before its figures.
        let kind =
            |reason: &str| reason.split(|c: char| c.is_ascii_digit()).next().map(str::to_owned);
        let times = |reason: &&str| reasons().filter(|other| kind(other) == kind(reason)).count();
        reasons().rev().max_by_key(times).unwrap_or_default()
    }

    /// True when server and load generator were on the same core, which leaves only CPU per request to be compared.
    pub fn shares_core(&self) -> bool {
        self.header.cpu_server == self.header.cpu_client
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::report::delta::tests::{header, trial};

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let trial = trial("uring/raw/reflect", 0, 1000);
        let asked = Conformance { rung: trial.rung.clone(), seed: 3, ..Conformance::default() };
        let lines = [
            Line::Header(Box::new(header())),
            Line::Conformance(Box::new(asked.clone())),
            Line::Trial(Box::new(trial.clone())),
        ];
        let run = Run::parse(&text(&lines)).unwrap();
        assert_eq!(run, Run { conformance: vec![asked], ..Run::new(header(), vec![trial]) });
    }

    #[test]
    fn rungs_that_answer_wrongly_what_they_were_not_measured_with_are_named() {
        let run = Run::new(header(), Vec::new());
        assert_eq!(run.conformance(), None);
        let right = Conformance { rung: "uring/h1/npy".into(), ..Conformance::default() };
        let variant = Variant::Build { side: Side::New, number: 0 };
        let wrong = Conformance {
            build: Some(variant),
            failure: Some(Outcome::default()),
            ..right.clone()
        };
        let run = Run { conformance: vec![right, wrong], ..run };
        let text = run.conformance().unwrap();
        assert!(text.ends_with("answered rightly by 1 of 2 rungs, not new uring/h1/npy"), "{text}");
    }

    #[test]
    fn a_last_line_cut_short_is_dropped() {
        let mut cut = text(&[Line::Header(Box::new(header()))]);
        cut.push_str("{\"trial\":{\"ver");
        assert_eq!(Run::parse(&cut).unwrap().trials, []);
        cut.push('\n');
        assert!(matches!(Run::parse(&cut), Err(ReportError::Line { at: 2, .. })));
    }

    #[test]
    fn another_version_is_refused() {
        let other = Header { version: VERSION + 1, ..header() };
        let error = Run::parse(&text(&[Line::Header(Box::new(other))])).unwrap_err();
        assert!(matches!(error, ReportError::Version { got } if got == VERSION + 1));
        // Of another version only the version is sure to be there.
        let error = Run::parse("{\"header\":{\"version\":99,\"x\":1}}\n").unwrap_err();
        assert!(matches!(error, ReportError::Version { got: 99 }), "{error}");
    }

    #[test]
    fn what_is_no_record_is_said_to_be_none() {
        for foreign in ["", "{}\n", "bytes,dtype\n8,<f8\n", "\u{0}\u{1}\n"] {
            assert!(matches!(Run::parse(foreign), Err(ReportError::Header)), "{foreign:?}");
        }
        let damaged = "{\"header\":{\"version\":3}}\n";
        assert!(matches!(Run::parse(damaged), Err(ReportError::Line { at: 1, .. })));
    }
}
