//! Cost of each encoding compared with `.npy`, in a standard server and in ours.

use crate::record::ArrayInfo;
use crate::stats::bootstrap::Interval;

use super::super::units;
use super::super::wrap::wrap;
use super::bars::{bar, bar_width, widest};
use super::load_cells::{LoadCells, Ratio};

/// Name, the standard server's rung, and ours.
pub(super) const ENCODINGS: [(&str, &str, &str); 12] = [
    (".npy", NPY, "uring/h1/npy"),
    ("msgpack", "tokio/axum/msgpack:serde", "uring/h1/msgpack"),
    ("base64 in JSON", "tokio/axum/json_binary:serde", "uring/h1/json_binary"),
    ("JSON list", "tokio/axum/json:serde", "uring/h1/json"),
    ("CBOR", "tokio/axum/cbor:minicbor", "uring/h1/cbor"),
    ("safetensors", "tokio/axum/safetensors:crate", "uring/h1/safetensors"),
    ("Arrow tensor", "tokio/axum/arrow", "uring/h1/arrow"),
    ("protobuf", BYTES, "uring/h2/protobuf"),
    ("protobuf list", LIST, "uring/h2/protobuf_packed"),
    ("KServe", "tokio/tonic/kserve:prost", "uring/h2/kserve"),
    ("KServe list", "tokio/tonic/kserve_typed:prost", "uring/h2/kserve_typed"),
    ("KServe HTTP", "tokio/axum/kserve_http:serde", "uring/h1/kserve_http"),
];

const NPY: &str = "tokio/axum/npy";

/// Two ways to write an array in protobuf: as bytes, and as a list of numbers.
const BYTES: &str = "tokio/tonic/protobuf:prost";
const LIST: &str = "tokio/tonic/protobuf_packed:prost";

/// Name of the server of [`NPY`].
pub(super) const NPY_SERVER: &str = "axum";

/// Greatest width of a bar, and width of the cells before it with their gaps.
const BAR: usize = 20;
const CELLS: usize = 3 + 16 + 6 + 9 + 2;

/// Titles of the columns of ratios, and the least width of their cells.
const TO_NPY: &str = "to axum's .npy";
const OWN: &str = "ours to this server";
const COLUMN: usize = 19;

pub(super) struct Encodings {
    pub(super) array: ArrayInfo,
    connections: u32,
    pub(super) rows: Vec<Row>,
    /// Ratio of [`LIST`] to [`BYTES`].
    pub(super) list_to_bytes: Option<Ratio>,
}

pub(super) struct Row {
    pub(super) name: &'static str,
    /// Name of the standard server.
    pub(super) server: &'static str,
    pub(super) cost_ns: Interval,
    /// Cost of our server.
    pub(super) own_ns: Option<f64>,
    /// Ratio to `.npy`; `None` for `.npy` itself.
    pub(super) to_npy: Option<Ratio>,
    /// Ratio of our server to the standard one, with the same encoding.
    pub(super) own: Option<Ratio>,
}

impl Encodings {
    /// Returns `None` if the load has no `.npy` by axum to compare with, or nothing else.
    pub(super) fn evaluate(load: &LoadCells<'_>) -> Option<Encodings> {
        load.cost_ns(NPY)?;
        let pairs: Vec<(&str, &str)> = ENCODINGS
            .iter()
            .flat_map(|(_, standard, own)| [(*standard, NPY), (*own, *standard)])
            .chain([(LIST, BYTES)])
            .collect();
        // `.npy` against itself is no ratio of the family.
        let ratios = load.ratios(&pairs[1..]);
        let row = |(index, (name, standard, ours)): (usize, &(&'static str, &str, &str))| {
            let to_npy = (index > 0).then(|| ratios.ratio(2 * index - 1)).flatten();
            let own = ratios.ratio(2 * index);
            Some(Row {
                name,
                server: if standard.contains("/tonic") { "tonic" } else { NPY_SERVER },
                cost_ns: load.cost_ns(standard)?,
                own_ns: load.cost_ns(ours).map(|cost| cost.estimate),
                to_npy,
                own,
            })
        };
        let rows: Vec<Row> = ENCODINGS.iter().enumerate().filter_map(row).collect();
        (rows.len() > 1).then(|| Encodings {
            array: load.array().clone(),
            connections: load.connections(),
            rows,
            list_to_bytes: ratios.ratio(pairs.len() - 2),
        })
    }

    pub(super) fn title(&self) -> String {
        let load = match self.connections {
            1 => "one connection, one request on it".to_owned(),
            count => format!("{count} connections, one request on each"),
        };
        format!("What each encoding costs: {}, {load}", units::array(&self.array))
    }

    pub(super) fn render(&self, number: usize, width: usize) -> String {
        let or = |missing: &str, ratio: Option<Ratio>| match ratio {
            Some(ratio) => ratio.text(),
            None => missing.to_owned(),
        };
        let to_npy: Vec<String> = self.rows.iter().map(|row| or("1", row.to_npy)).collect();
        let own: Vec<String> = self.rows.iter().map(|row| or("-", row.own)).collect();
        let column = |title, cells: &[String]| {
            widest(cells.iter().map(String::as_str).chain([title])).max(COLUMN)
        };
        let npy_width = column(TO_NPY, &to_npy);
        let own_width = column(OWN, &own);
        let bar_width = bar_width(width, CELLS + 2 + npy_width + 2 + own_width, BAR);
        let mut text = wrap(&format!("{number}  "), &self.title(), width);
        let mut line = |cells: [&str; 6]| {
            let [name, server, cost, bar, to_npy, own] = cells;
            let line = format!(
                "   {name:<16}{server:<6}{cost:>9}  {bar:<bar_width$}  {to_npy:<npy_width$}  {own}"
            );
            text.push_str(line.trim_end());
            text.push('\n');
        };
        line(["", "server", "", "", TO_NPY, OWN]);
        let largest = self.rows.iter().map(|row| row.cost_ns.estimate).fold(0.0, f64::max);
        for (row, (to_npy, own)) in self.rows.iter().zip(to_npy.iter().zip(&own)) {
            let cost = row.cost_ns.estimate;
            let bar = bar(cost / largest, bar_width);
            line([row.name, row.server, &units::time(cost), &bar, to_npy, own]);
        }
        text
    }
}
