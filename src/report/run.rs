//! A recorded run, read from its lines.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::axis::external::PREFIX;
use crate::record::trial_spec::RequestHeaders;
use crate::record::{Client, Conformance, Header, Lane, Line, Side, Trial, VERSION, Variant};

use super::units;

#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub header: Header,
    pub trials: Vec<Trial>,
    pub conformance: Vec<Conformance>,
    pub lanes: Vec<Lane>,
}

/// The part of a first line that every version has.
#[derive(Deserialize)]
struct FirstLine {
    header: Versioned,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("not a file of records: the first line is not a header")]
    Header,
    #[error(
        "the records have version {got}, but this program reads version {VERSION}; \
         use the program that wrote them"
    )]
    Version { got: u32 },
    #[error("line {number} is not a record: {source}")]
    Line { number: usize, source: serde_json::Error },
}

impl Run {
    /// Parses a file of records. Ignores a last line without its end, which a killed run leaves.
    pub fn parse(text: &str) -> Result<Run, ReportError> {
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let mut lines = whole.lines().enumerate();
        let (_, first) = lines.next().ok_or(ReportError::Header)?;
        if let Ok(FirstLine { header }) = serde_json::from_str(first)
            && header.version != VERSION
        {
            return Err(ReportError::Version { got: header.version });
        }
        let header = match serde_json::from_str(first) {
            Ok(Line::Header(header)) => header,
            Ok(Line::Trial(_) | Line::Conformance(_) | Line::Lane(_)) => {
                return Err(ReportError::Header);
            }
            Err(source) if first.starts_with(r#"{"header""#) => {
                return Err(ReportError::Line { number: 1, source });
            }
            Err(_) => return Err(ReportError::Header),
        };
        let mut run = Run::new(*header, Vec::new());
        for (index, line) in lines {
            match serde_json::from_str(line) {
                Ok(Line::Trial(trial)) => run.trials.push(*trial),
                Ok(Line::Conformance(conformance)) => run.conformance.push(*conformance),
                Ok(Line::Lane(lane)) => run.lanes.push(*lane),
                Ok(Line::Header(_)) => {}
                Err(source) => return Err(ReportError::Line { number: index + 1, source }),
            }
        }
        run.complete_older_trials();
        Ok(run)
    }

    /// Completes the trials of a record that names its client in the header only. Its requests had
    /// equal headers if h2load sent them, although the record calls them changing.
    fn complete_older_trials(&mut self) {
        let client = match self.header.client.as_deref() {
            Some(name) if name.starts_with(Client::H2load.name()) => Client::H2load,
            Some(_) => Client::Python,
            None => return,
        };
        if self.trials.iter().any(|trial| trial.client != Client::Own) {
            return;
        }
        for trial in &mut self.trials {
            trial.client = client;
            if let Some(spec) = &mut trial.spec {
                spec.load.knobs.headers = RequestHeaders::Equal;
            }
        }
    }

    pub fn new(header: Header, trials: Vec<Trial>) -> Run {
        Run { header, trials, conformance: Vec::new(), lanes: Vec::new() }
    }

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

    /// Summarizes the conformance results; `None` if no rung was checked.
    pub fn conformance(&self) -> Option<String> {
        let name = |result: &Conformance| match &result.build {
            Some(Variant::Build { side: Side::Old, .. }) => format!("old {}", result.rung),
            Some(Variant::Build { side: Side::New, .. }) => format!("new {}", result.rung),
            _ if !result.coding.is_identity() => format!("{} in {}", result.rung, result.coding),
            _ => result.rung.clone(),
        };
        let failed: Vec<String> =
            self.conformance.iter().filter(|result| result.failure.is_some()).map(name).collect();
        let all = self.conformance.len();
        let passed = all - failed.len();
        let which = if failed.is_empty() {
            String::new()
        } else {
            format!("; failed: {}", failed.join(", "))
        };
        let arrays = self.conformance.iter().map(|result| result.arrays).max().unwrap_or(0);
        let arrays = if arrays > 0 { format!("{arrays} arrays of ") } else { String::new() };
        let mut left_out: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for result in self.conformance.iter().filter(|result| !result.left_out.is_empty()) {
            let codec = result.rung.rsplit('/').next().unwrap_or_default();
            let encoding = codec.split([':', '@']).next().unwrap_or_default();
            let who = if result.rung.starts_with(PREFIX) { result.rung.as_str() } else { encoding };
            left_out.entry(&result.left_out).or_default().insert(who);
        }
        let left_out: String = left_out
            .into_iter()
            .map(|(kinds, encodings)| {
                let encodings: Vec<&str> = encodings.into_iter().collect();
                format!("; {} without {kinds}", encodings.join(", "))
            })
            .collect();
        (all > 0).then(|| {
            format!(
                "conformance ({arrays}every dtype, byte order and kind of shape): \
                 {passed} of {all} rungs passed{which}{left_out}"
            )
        })
    }

    /// Counts the blocks. The last one may be incomplete.
    pub fn blocks(&self) -> u32 {
        self.trials.iter().map(|trial| trial.round + 1).max().unwrap_or(0)
    }

    /// Returns true for a shared core. Only CPU per request can then be compared.
    pub fn shares_core(&self) -> bool {
        self.header.cpu_server == self.header.cpu_client
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Encoding;
    use crate::record::Outcome;
    use crate::record::tests::{header, trial};
    use crate::record::trial_spec::{LoadSpec, TrialSpec};

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
    }

    #[test]
    fn written_records_are_read() {
        let trial = trial("uring/raw/reflect", 0, 1000);
        let conformance =
            Conformance { rung: trial.rung.clone(), seed: 3, ..Conformance::default() };
        let lines = [
            Line::Header(Box::new(header())),
            Line::Conformance(Box::new(conformance.clone())),
            Line::Trial(Box::new(trial.clone())),
        ];
        let run = Run::parse(&text(&lines)).unwrap();
        let want = Run { conformance: vec![conformance], ..Run::new(header(), vec![trial]) };
        assert_eq!(run, want);
    }

    #[test]
    fn an_older_record_of_h2load_had_equal_headers() {
        let url = "grpc://127.0.0.1:7".parse().unwrap();
        let load = LoadSpec::new(url, Encoding::Protobuf);
        let spec = Some(Box::new(TrialSpec { servers: Vec::new(), load }));
        let trial = Trial { spec, ..trial("uring/h2/protobuf", 0, 1000) };
        let written = |header, trial| {
            let lines = [Line::Header(Box::new(header)), Line::Trial(Box::new(trial))];
            let text = text(&lines).replace("\"client\":\"own\",", "");
            let trial = Run::parse(&text).unwrap().trials.remove(0);
            (trial.client, trial.spec.unwrap().load.knobs.headers)
        };
        let client = Some("h2load nghttp2/1.52.0".to_owned());
        let by_h2load = written(Header { client, ..header() }, trial.clone());
        assert_eq!(by_h2load, (Client::H2load, RequestHeaders::Equal));
        assert_eq!(written(header(), trial), (Client::Own, RequestHeaders::Changing));
    }

    #[test]
    fn rungs_that_fail_conformance_are_named() {
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
        assert!(text.ends_with("1 of 2 rungs passed; failed: new uring/h1/npy"), "{text}");
    }

    #[test]
    fn arrays_that_an_encoding_did_not_get_are_named() {
        let result = |rung: &str, left_out: &str| Conformance {
            rung: rung.into(),
            arrays: 48,
            left_out: left_out.into(),
            ..Conformance::default()
        };
        let conformance = vec![
            result("uring/h1/json", "complex numbers"),
            result("tokio/h1/json", "complex numbers"),
            result("tokio/axum/json:serde", "complex numbers"),
            result("uring/h1/npy", ""),
            result("external/pajamax/protobuf", "messages above 16000 B"),
        ];
        let text = Run { conformance, ..Run::new(header(), Vec::new()) }.conformance().unwrap();
        assert_eq!(
            text,
            "conformance (48 arrays of every dtype, byte order and kind of shape): \
             5 of 5 rungs passed; json without complex numbers; \
             external/pajamax/protobuf without messages above 16000 B"
        );
    }

    #[test]
    fn a_last_line_cut_short_is_dropped() {
        let mut cut = text(&[Line::Header(Box::new(header()))]);
        cut.push_str("{\"trial\":{\"ver");
        assert_eq!(Run::parse(&cut).unwrap().trials, []);
        cut.push('\n');
        assert!(matches!(Run::parse(&cut), Err(ReportError::Line { number: 2, .. })));
    }

    #[test]
    fn another_version_is_refused() {
        let other = Header { version: VERSION + 1, ..header() };
        let error = Run::parse(&text(&[Line::Header(Box::new(other))])).unwrap_err();
        assert!(matches!(error, ReportError::Version { got } if got == VERSION + 1));
        let error = Run::parse("{\"header\":{\"version\":99,\"x\":1}}\n").unwrap_err();
        assert!(matches!(error, ReportError::Version { got: 99 }), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        for foreign in ["", "{}\n", "bytes,dtype\n8,<f8\n", "\u{0}\u{1}\n"] {
            assert!(matches!(Run::parse(foreign), Err(ReportError::Header)), "{foreign:?}");
        }
        let damaged = "{\"header\":{\"version\":3}}\n";
        assert!(matches!(Run::parse(damaged), Err(ReportError::Line { number: 1, .. })));
    }
}
