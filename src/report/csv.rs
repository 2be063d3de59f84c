//! One line per cell with plain numbers, for a spreadsheet or a plot.

use super::Run;
use super::delta::{Figures, Row, Section, sections};
use crate::stats::bootstrap::Interval;
use crate::stats::verdict::Floor;

const HEADS: &str = "bytes,dtype,shape,connections,in_flight,rung,parent,reference,\
    server_cpu_ns,server_cpu_ns_low,server_cpu_ns_high,server_system_share,client_cpu_ns,\
    to_parent,to_parent_low,to_parent_high,parent_verdict,\
    to_reference,to_reference_low,to_reference_high,reference_verdict,noise_floor,\
    requests_per_s,requests_per_s_low,requests_per_s_high,p50_ns,p99_ns,bytes_in,bytes_out,\
    server_rss_peak_bytes,server_faults,ceiling_per_s,blocks,discarded,status,reason";

/// The whole run.
pub fn render(run: &Run) -> String {
    let mut text = format!("{HEADS}\n");
    for section in sections(&run.trials) {
        for row in &section.rows {
            let mut fields = place(&section, row);
            match &row.result {
                Ok(figures) => fields.extend(numbers(figures, section.noise.floor())),
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

fn numbers(figures: &Figures, floor: Floor) -> Vec<String> {
    let mut fields = three(figures.server_cpu_ns).to_vec();
    fields.push(text(figures.system_share));
    fields.push(figures.client_cpu_ns.estimate.to_string());
    for ratio in [figures.to_parent, figures.to_reference] {
        fields.extend(three(ratio.map(|ratio| ratio.ratio)));
        fields.push(ratio.map_or("", |ratio| ratio.verdict.word()).to_owned());
    }
    fields.push(floor.share().to_string());
    fields.extend(three(Some(figures.rate_hz)));
    fields.extend([text(figures.p50_ns), text(figures.p99_ns)]);
    fields.extend([
        figures.bytes_in.to_string(),
        figures.bytes_out.to_string(),
        text(figures.rss_peak_bytes),
        text(figures.faults),
        text(figures.ceiling_hz),
        figures.rate_hz.units.to_string(),
        figures.discarded.to_string(),
        figures.status.word().to_owned(),
        figures.status.reason().to_owned(),
    ]);
    fields
}

fn three(interval: Option<Interval>) -> [String; 3] {
    let range = interval.and_then(|interval| interval.range);
    let (low, high) = range.unzip();
    [text(interval.map(|interval| interval.estimate)), text(low), text(high)]
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
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
        let text = render(&Run::new(header(), trials));
        let counts: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(counts, [36; 3], "{text}");
    }

    #[test]
    fn commas_and_quotes_are_kept_inside_a_field() {
        assert_eq!(quote("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quote("plain"), "plain");
    }
}
