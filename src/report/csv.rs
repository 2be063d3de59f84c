//! One line per cell with plain numbers, for a spreadsheet or a plot.

use super::Run;
use super::delta::{Figures, Row, Section, sections};
use crate::stats::summary::Summary;

const HEADS: &str = "bytes,dtype,shape,connections,in_flight,rung,parent,reference,\
    server_cpu_ns,server_cpu_ns_min,server_cpu_ns_max,client_cpu_ns,\
    to_parent,to_parent_min,to_parent_max,to_reference,to_reference_min,to_reference_max,\
    requests_per_s,is_client_bound,p50_ns,p99_ns,bytes_in,bytes_out,server_rss_peak_bytes,rounds,problem";

/// The whole run.
pub fn render(run: &Run) -> String {
    let mut text = format!("{HEADS}\n");
    for section in sections(&run.trials) {
        for row in &section.rows {
            let mut fields = place(&section, row);
            match &row.result {
                Ok(figures) => fields.extend(numbers(figures)),
                Err(problem) => {
                    let missing = HEADS.split(',').count() - fields.len() - 1;
                    fields.extend(vec![String::new(); missing]);
                    fields.push(problem.clone());
                }
            }
            let quoted: Vec<String> = fields.iter().map(|field| quote(field)).collect();
            text.push_str(&quoted.join(","));
            text.push('\n');
        }
    }
    text
}

fn place(section: &Section, row: &Row) -> Vec<String> {
    let dims: Vec<String> = section.array.shape.iter().map(u64::to_string).collect();
    vec![
        section.array.bytes.to_string(),
        section.array.dtype.clone(),
        dims.join("x"),
        section.connections.to_string(),
        section.in_flight.to_string(),
        row.rung.clone(),
        row.parent.clone().unwrap_or_default(),
        row.reference.clone().unwrap_or_default(),
    ]
}

fn numbers(figures: &Figures) -> Vec<String> {
    let mut fields = Vec::new();
    fields.extend(three(figures.server_cpu_ns));
    fields.push(figures.client_cpu_ns.median.to_string());
    fields.extend(three(figures.to_parent));
    fields.extend(three(figures.to_reference));
    fields.extend([
        figures.rate_hz.median.to_string(),
        figures.is_client_bound.to_string(),
        figures.p50_ns.map_or_else(String::new, |ns| ns.to_string()),
        figures.p99_ns.map_or_else(String::new, |ns| ns.to_string()),
        figures.bytes_in.to_string(),
        figures.bytes_out.to_string(),
        figures.rss_peak_bytes.map_or_else(String::new, |bytes| bytes.to_string()),
        figures.rate_hz.count.to_string(),
        String::new(),
    ]);
    fields
}

fn three(summary: Option<Summary>) -> [String; 3] {
    match summary {
        Some(Summary { median, low, high, .. }) => [median, low, high].map(|v| v.to_string()),
        None => [const { String::new() }; 3],
    }
}

/// RFC 4180.
fn quote(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::report::delta::tests::{header, trial, with};

    #[test]
    fn every_line_has_every_field() {
        let skipped = Outcome::Skipped { reason: "why not".into() };
        let trials = vec![
            trial("uring/raw/reflect", 0, 1000),
            with(trial("uring/h1/reflect", 0, 3000), skipped),
        ];
        let text = render(&Run { header: header(), trials });
        let counts: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(counts, [27, 27, 27], "{text}");
    }

    #[test]
    fn commas_and_quotes_are_kept_inside_a_field() {
        assert_eq!(quote("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quote("plain"), "plain");
    }
}
