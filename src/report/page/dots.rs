//! CPU time per request of every rung under one load: dots with intervals on a logarithmic axis.

use super::super::aggregate::{Figures, Section};
use super::super::status::Status;
use super::super::units;
use super::chart::{Chart, Scale};
use super::figure::{Figure, interval_fields};
use super::kind::Kind;
use super::subject::{Subject, load_anchor};
use crate::stats::bootstrap::Interval;

const ROW: f64 = 33.0;
const BASELINE: f64 = 13.0;
const DOT: f64 = 23.0;
const AXIS: f64 = 20.0;

struct Row<'a> {
    rung: &'a str,
    cost: Interval,
    figures: &'a Figures,
}

/// Returns a figure for each load that has costs.
pub(super) fn figures(subject: &Subject<'_>) -> Vec<Figure> {
    let figure = |(index, section): (usize, &Section)| {
        let title = subject.loads[index].long_title();
        figure(section, title, format!("cost-{}", load_anchor(&subject.sections, index)))
    };
    subject.sections.iter().enumerate().filter_map(figure).collect()
}

fn figure(section: &Section, title: String, name: String) -> Option<Figure> {
    let mut rows: Vec<Row<'_>> = section
        .rows
        .iter()
        .filter_map(|row| {
            let figures = row.result.as_ref().ok()?;
            Some(Row { rung: &row.rung, cost: figures.cell.server_cpu_ns?, figures })
        })
        .collect();
    rows.sort_by(|one, other| one.cost.estimate.total_cmp(&other.cost.estimate));
    if rows.is_empty() {
        return None;
    }
    Some(Figure { name, title, note: String::new(), chart: chart(&rows), data: data(&rows) })
}

fn chart(rows: &[Row<'_>]) -> Chart {
    let ends = |row: &Row<'_>| {
        let (low, high) = row.cost.range.unwrap_or((row.cost.estimate, row.cost.estimate));
        [low, high, row.cost.estimate]
    };
    let scale = Scale::log(rows.iter().flat_map(ends));
    let bottom = ROW * rows.len() as f64 + 4.0;
    let mut chart = Chart::new(bottom + AXIS);
    for tick in scale.ticks() {
        let x = scale.x(tick);
        chart.line("grid", (x, 4.0), (x, bottom));
        let side = match x {
            x if x > 90.0 => "small end",
            x if x < 10.0 => "small",
            _ => "small middle",
        };
        chart.text(side, (x, bottom + 14.0), &round_time(tick));
    }
    for (index, row) in rows.iter().enumerate() {
        draw(&mut chart, scale, row, ROW * index as f64);
    }
    chart
}

fn draw(chart: &mut Chart, scale: Scale, row: &Row<'_>, top: f64) {
    chart.line("rail", (0.0, top + DOT), (100.0, top + DOT));
    chart.label("halo", top + BASELINE, row.rung);
    let figure = units::time(row.cost.estimate);
    chart.text("halo strong end", (100.0, top + BASELINE), &figure);
    if let Some((low, high)) = row.cost.range {
        chart.whisker("whisker", (scale.x(low), scale.x(high)), top + DOT);
    }
    let open = if matches!(row.figures.status, Status::Noisy(_)) { " open" } else { "" };
    let class = format!("dot {}{open}", Kind::of_rung(row.rung).class());
    chart.dot(&class, (scale.x(row.cost.estimate), top + DOT));
}

/// `20 µs`: the time of a tick, which is round.
pub(super) fn round_time(ns: f64) -> String {
    let text = units::time(ns);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

fn data(rows: &[Row<'_>]) -> Vec<Vec<String>> {
    let heads = ["rung", "server_cpu_ns", "server_cpu_ns_low", "server_cpu_ns_high", "status"];
    let line = |row: &Row<'_>| {
        let [cost, low, high] = interval_fields(Some(row.cost));
        vec![row.rung.to_owned(), cost, low, high, row.figures.status.word().to_owned()]
    };
    std::iter::once(heads.map(str::to_owned).to_vec()).chain(rows.iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::round_time;

    #[test]
    fn a_round_time_has_no_zeros_behind_the_point() {
        let times = [500.0, 1e3, 1.5e3, 2e4, 1e6].map(round_time);
        assert_eq!(times, ["500 ns", "1 µs", "1.5 µs", "20 µs", "1 ms"]);
    }
}
