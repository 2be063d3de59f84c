//! One line per cell with plain numbers, for a spreadsheet or a plot.

use super::Run;
use super::aggregate::{Row, Section, sections};
use super::columns::{COLUMNS, Field, View};

const IDENTITY: [&str; 10] = [
    "bytes",
    "dtype",
    "shape",
    "connections",
    "in_flight",
    "client",
    "headers",
    "rung",
    "parent",
    "reference",
];

pub fn render(run: &Run) -> String {
    let mut lines = csv::Writer::from_writer(Vec::new());
    let mut write = |line: Vec<String>| lines.write_record(line).expect("a vector takes all lines");
    let fields = || COLUMNS.iter().flat_map(|column| column.csv);
    let names: Vec<String> = fields().flat_map(Field::names).collect();
    let identity = IDENTITY.map(str::to_owned).into_iter();
    write(identity.chain(names.clone()).chain(["reason".to_owned()]).collect());
    for section in &sections(&run.trials) {
        for row in &section.rows {
            let mut line = identity_of(section, row);
            let reason = match &row.result {
                Ok(figures) => {
                    let view = View { section, row, figures, shares_core: run.shares_core() };
                    line.extend(fields().flat_map(|field| field.values(&view)));
                    figures.status.reason()
                }
                Err(obstacle) => {
                    line.extend(vec![String::new(); names.len()]);
                    obstacle
                }
            };
            line.push(reason.to_owned());
            write(line);
        }
    }
    let bytes = lines.into_inner().expect("a vector takes all lines");
    String::from_utf8(bytes).expect("all fields are text")
}

fn identity_of(section: &Section, row: &Row) -> Vec<String> {
    let dims: Vec<String> = section.array.shape.iter().map(u64::to_string).collect();
    vec![
        section.array.bytes.to_string(),
        section.array.dtype.clone(),
        dims.join("x"),
        section.connections.to_string(),
        section.in_flight.to_string(),
        section.client.name().to_owned(),
        section.headers.map_or("", |headers| headers.name()).to_owned(),
        row.rung.clone(),
        row.parent.clone().unwrap_or_default(),
        row.reference.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::record::tests::{header, trial, with};

    #[test]
    fn every_line_has_every_field() {
        let skipped = Outcome::Skipped { reason: "a, \"b\"".into() };
        let trials = vec![
            trial("uring/raw/reflect", 0, 1000),
            with(trial("uring/h1/reflect", 0, 3000), skipped),
        ];
        let text = render(&Run::new(header(), trials));
        assert!(text.starts_with("bytes,dtype,shape,"), "{text}");
        assert!(text.ends_with(",,\"skipped: a, \"\"b\"\"\"\n"), "{text}");
        let counts: Vec<usize> =
            text.replace("a, ", "").lines().map(|line| line.split(',').count()).collect();
        assert_eq!(counts, [38; 3], "{text}");
        assert!(text.contains(",1000,own,,uring/raw/reflect,"), "{text}");
    }
}
