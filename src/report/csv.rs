//! One line per cell with plain numbers, for a spreadsheet or a plot.

use crate::axis::Layer;
use crate::stats::bootstrap::Interval;

use super::Run;
use super::aggregate::{Section, sections};
use super::closure::{self, Pair};
use super::columns::{COLUMNS, Field, View};

const IDENTITY: [&str; 12] = [
    "bytes",
    "dtype",
    "shape",
    "data_set",
    "coding",
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
    let is_attributed = closure::is_attributed(run);
    let of_pair = if is_attributed { pair_names() } else { Vec::new() };
    let heads = identity.chain(names.clone()).chain(of_pair.clone());
    write(heads.chain(["reason".to_owned()]).collect());
    let pairs = if is_attributed { closure::sections(run) } else { Vec::new() };
    for (index, section) in sections(&run.trials).iter().enumerate() {
        for row in &section.rows {
            let mut line =
                identity_of(section, &row.rung, row.parent.clone(), row.reference.clone());
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
            let pair = pairs.get(index).and_then(|of_section| of_section.pair_of(&row.rung));
            let values = pair.map(|pair| pair_values(pair, pair.closure.word()));
            line.extend(values.unwrap_or_else(|| vec![String::new(); of_pair.len()]));
            line.push(reason.to_owned());
            write(line);
        }
        for planted in pairs.get(index).into_iter().flat_map(|of_section| &of_section.planted) {
            let (parent, rung) = (Some(planted.rung().to_owned()), planted.name());
            let mut line = identity_of(section, &rung, parent, None);
            line.extend(vec![String::new(); names.len()]);
            line.extend(pair_values(&planted.pair, planted.finding.word()));
            line.push(planted.sentence());
            write(line);
        }
    }
    let bytes = lines.into_inner().expect("a vector takes all lines");
    String::from_utf8(bytes).expect("all fields are text")
}

/// Returns the names of the fields of a rung's difference to its parent: in all, in the declared
/// layers, in the others, and in each layer.
fn pair_names() -> Vec<String> {
    let parts = ["difference_ns", "declared_ns", "leak_ns"].map(str::to_owned).into_iter();
    let layers = Layer::ALL.into_iter().map(|layer| format!("{layer}_ns"));
    let ends = |name: String| ["", "_low", "_high"].map(|end| format!("{name}{end}"));
    ["closure".to_owned()].into_iter().chain(parts.chain(layers).flat_map(ends)).collect()
}

fn pair_values(pair: &Pair, result: &str) -> Vec<String> {
    let of_layer = |layer: Layer| pair.layers.iter().find(|it| it.layer == layer).map(|it| it.ns);
    let parts = [pair.clock, pair.declared, pair.leak].map(Some).into_iter();
    let plain = |ns: Option<f64>| ns.map_or_else(String::new, |ns| ns.to_string());
    let ends = |ns: Option<Interval>| {
        let (low, high) = ns.and_then(|ns| ns.range).unzip();
        [ns.map(|ns| ns.estimate), low, high].map(plain)
    };
    let values = parts.chain(Layer::ALL.into_iter().map(of_layer)).flat_map(ends);
    [result.to_owned()].into_iter().chain(values).collect()
}

fn identity_of(
    section: &Section,
    rung: &str,
    parent: Option<String>,
    reference: Option<String>,
) -> Vec<String> {
    let dims: Vec<String> = section.array.shape.iter().map(u64::to_string).collect();
    vec![
        section.array.bytes.to_string(),
        section.array.dtype.clone(),
        dims.join("x"),
        section.array.data_set.map_or("", |data_set| data_set.name()).to_owned(),
        section.coding.name().to_owned(),
        section.connections.to_string(),
        section.in_flight.to_string(),
        section.client.name().to_owned(),
        section.headers.map_or("", |headers| headers.name()).to_owned(),
        rung.to_owned(),
        parent.unwrap_or_default(),
        reference.unwrap_or_default(),
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
        assert_eq!(counts, [40; 3], "{text}");
        assert!(text.contains(",1000,own,,uring/raw/reflect,"), "{text}");
    }
}
