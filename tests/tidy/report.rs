//! Findings of the rules.

use std::fmt::Write;

/// Findings, one line each: `file:line: text`.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<String>);

impl Report {
    pub(crate) fn add(&mut self, path: &str, line: usize, text: String) {
        self.0.push(format!("{path}:{line}: {text}"));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Fails if there is a finding.
    pub(crate) fn assert_empty(mut self) {
        self.0.sort();
        let mut text = String::new();
        for finding in &self.0 {
            let _ = writeln!(text, "{finding}");
        }
        assert!(self.0.is_empty(), "{} findings\n{text}", self.0.len());
    }

    /// Fails if no finding contains `text`, or if there is more than one finding.
    pub(crate) fn assert_only(self, text: &str) {
        assert!(self.0.len() == 1 && self.0[0].contains(text), "expected {text:?}: {:?}", self.0);
    }
}
