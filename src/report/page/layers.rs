//! Layers inside each rung, for loads with profiled servers: a table, and a strip of colours.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::axis::Layer;

use super::super::answer::load_cells::LoadCells;
use super::super::markup::escape;
use super::super::palette;
use super::super::profile::RungLayers;
use super::super::units;
use super::chart::{Chart, Scale};
use super::heat::breakable;
use super::subject::{Subject, load_anchor};

/// Draws the layers of a rung as one bar as long as its cost.
pub(super) fn strip(
    chart: &mut Chart,
    layers: &RungLayers,
    scale: Scale,
    cost_ns: f64,
    (top, height): (f64, f64),
) {
    let mut from = 0.0;
    for (layer, (_, share)) in &layers.layers {
        let to = from + share * cost_ns;
        chart.bar(&palette::class(*layer), (scale.x(from), scale.x(to)), (top, height));
        from = to;
    }
}

/// Returns the colours of the layers that `are_there`.
pub(super) fn legend(are_there: &BTreeSet<Layer>) -> String {
    let entry = |layer: &Layer| {
        format!("<li><i class=\"key layer {}\"></i>{}</li>", palette::class(*layer), layer.name())
    };
    let entries: String = are_there.iter().map(entry).collect();
    format!("<ul class=\"legend\">{entries}</ul>\n")
}

/// Returns the layers of all profiled servers.
pub(super) fn all(subject: &Subject<'_>) -> BTreeSet<Layer> {
    let profiles = subject.loads.iter().flat_map(LoadCells::profiles);
    profiles.flat_map(|profile| profile.layers.into_keys()).collect()
}

/// Returns a table of layers for each load with profiles; empty for a run without.
pub(super) fn tables(subject: &Subject<'_>) -> String {
    let mut html = String::new();
    for (index, load) in subject.loads.iter().enumerate() {
        let profiles = load.profiles();
        if !profiles.is_empty() {
            let anchor = load_anchor(&subject.sections, index);
            html.push_str(&table(&profiles, &load.long_title(), &anchor));
        }
    }
    html
}

fn table(profiles: &[RungLayers], title: &str, anchor: &str) -> String {
    let title = escape(title);
    let heads: String = profiles
        .iter()
        .map(|profile| format!("<th scope=\"col\">{}</th>", breakable(&profile.rung)))
        .collect();
    let mut rows = String::new();
    for layer in Layer::ALL {
        if profiles.iter().all(|profile| !profile.layers.contains_key(&layer)) {
            continue;
        }
        let cells: String = profiles.iter().map(|profile| cell(profile, layer)).collect();
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\" title=\"{}\">{}</th>{cells}</tr>",
            escape(layer.spec().about),
            layer.name()
        );
    }
    format!(
        "<div class=\"card\" id=\"layers-{anchor}\"><h3>{title}</h3>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Layers, {title}\">\n\
         <table class=\"heat\"><thead><tr><th scope=\"col\">layer</th>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div></div>\n"
    )
}

fn cell(profile: &RungLayers, layer: Layer) -> String {
    let Some((ns, share)) = profile.layers.get(&layer) else {
        return "<td class=\"none\">–</td>".to_owned();
    };
    let shade = (share.clamp(0.0, 1.0).sqrt() * 8.0).round() as usize;
    let percent = format!("{:.1} %", share * 100.0);
    match ns {
        Some(ns) => {
            let range = ns.range.map_or_else(String::new, |(low, high)| {
                format!(" title=\"{} to {}\"", units::time(low), units::time(high))
            });
            let time = units::time(ns.estimate);
            format!("<td class=\"h{shade}\"{range}>{time}<small>{percent}</small></td>")
        }
        None => format!("<td class=\"h{shade}\">{percent}</td>"),
    }
}
