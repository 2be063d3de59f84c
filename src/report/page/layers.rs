//! Layers inside each rung, for loads with profiled servers: a table, and a strip of colours.

use std::fmt::Write as _;

use crate::axis::Layer;

use super::super::markup::escape;
use super::super::profile::RungLayers;
use super::super::units;
use super::chart::{Chart, Scale};
use super::heat::breakable;
use super::subject::{Subject, load_anchor};

/// Groups of layers that share a colour, in the order of a strip.
const GROUPS: [(&str, &str, &[Layer]); 5] = [
    ("codec", "codec", &[Layer::CodecDecode, Layer::CodecEncode]),
    (
        "program",
        "RPC: application, gRPC, framework, HTTP framing, runtime",
        &[
            Layer::Application,
            Layer::GrpcSemantics,
            Layer::Framework,
            Layer::HttpFraming,
            Layer::Runtime,
            Layer::Interpreter,
        ],
    ),
    (
        "memory",
        "memory: allocator, copies, page faults",
        &[Layer::Allocator, Layer::UserCopies, Layer::PageFaults],
    ),
    (
        "kernel",
        "kernel: system calls, sockets, copies, ring, scheduler, interrupts",
        &[
            Layer::SystemCallEntry,
            Layer::KernelSocket,
            Layer::KernelCopy,
            Layer::KernelRing,
            Layer::Scheduler,
            Layer::Interrupts,
        ],
    ),
    ("unattributed", "unattributed", &[Layer::Unattributed]),
];

/// Opacity of the last layer of a group; the first one is opaque.
const OPACITY_LAST: f64 = 0.45;

/// Draws the layers of a rung as one bar as long as its cost.
pub(super) fn strip(
    chart: &mut Chart,
    layers: &RungLayers,
    scale: Scale,
    cost_ns: f64,
    (top, height): (f64, f64),
) {
    let mut from = 0.0;
    for (class, _, members) in GROUPS {
        for (index, layer) in members.iter().enumerate() {
            let Some((_, share)) = layers.layers.get(layer) else { continue };
            let to = from + share * cost_ns;
            let step = (1.0 - OPACITY_LAST) * index as f64 / members.len() as f64;
            chart.faded_bar(class, (scale.x(from), scale.x(to)), (top, height), 1.0 - step);
            from = to;
        }
    }
}

/// Returns the meaning of the colours of a strip.
pub(super) fn legend() -> String {
    let entry = |(class, words, _): (&str, &str, &[Layer])| {
        format!("<li><i class=\"key {class}\"></i>{words}</li>")
    };
    let entries: String = GROUPS.into_iter().map(entry).collect();
    format!("<ul class=\"legend\">{entries}</ul>\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_has_one_colour() {
        for layer in Layer::ALL {
            let groups = GROUPS.iter().filter(|(_, _, members)| members.contains(&layer));
            assert_eq!(groups.count(), 1, "{}", layer.name());
        }
    }
}
