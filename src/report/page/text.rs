//! Sentences of the page: head, answer, reading aid, and what a run lacks with the command for it.

use super::super::markup::escape;
use super::super::{Run, answer, counts, profile, warning};
use super::cells::sentence;
use super::figure::csv_of;
use super::heat::{self, breakable};
use super::kind::Kind;
use super::lanes;
use super::layers;
use super::sizes;
use super::subject::Subject;
use super::waterfall;

pub(super) fn head(subject: &Subject<'_>) -> String {
    let run = subject.run;
    let (facts, warnings) = match &subject.answer {
        Some(answer) => (answer.facts(run).join(" · "), answer::warnings(run)),
        None => (run.machine(), warning::warnings(run)),
    };
    let warnings: String = warnings
        .iter()
        .map(|warning| format!("<li>{}.</li>\n", sentence(&warning.to_string())))
        .collect();
    let warnings = if warnings.is_empty() {
        String::new()
    } else {
        format!("<ul class=\"warnings\" aria-label=\"Warnings\">\n{warnings}</ul>\n")
    };
    format!("<p class=\"lead\">{}</p>\n{warnings}", escape(&facts))
}

/// Returns the sentences of a main job.
pub(super) fn in_short(subject: &Subject<'_>) -> String {
    let Some(answer) = &subject.answer else {
        return "<p>This run asked other questions than the main job, whose answer has sentences. \
                <code>ndecho</code> without a command makes a main job.</p>\n"
            .to_owned();
    };
    let entry = |(name, sentences): (&str, String)| {
        format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(&sentences))
    };
    let entries: String = answer.sentences().into_iter().map(entry).collect();
    format!("<dl class=\"answer\">\n{entries}</dl>\n")
}

pub(super) fn guide() -> String {
    "<ul>\n\
     <li>Every cost is CPU time of the server's whole process for one request, in the program and \
     in the kernel. Less is better.</li>\n\
     <li>A line through a dot or a bar is a 95 % interval over launches, each with new processes. \
     An empty dot marks a cell that was disturbed.</li>\n\
     <li><code>=</code> and a dashed line mean that no difference was shown. Compare two servers \
     by their ratios in the <a href=\"#all\">table</a>: they are taken within a launch, and the \
     intervals of all ratios of one load hold together.</li>\n\
     <li>The name of a rung is <code>driver/protocol/codec</code>. Each rung differs from its \
     parent in one part only.</li>\n\
     <li>Figures behind a picture stand below it as CSV.</li>\n</ul>\n"
        .to_owned()
}

/// Returns the meaning of the colours, of those kinds that the run has.
pub(super) fn kinds(subject: &Subject<'_>) -> String {
    let rungs = || subject.sections.iter().flat_map(|section| &section.rows);
    let has = |kind: &Kind| rungs().any(|row| Kind::of_rung(&row.rung) == *kind);
    let entry =
        |kind: Kind| format!("<li><i class=\"key {}\"></i>{}</li>", kind.class(), kind.words());
    let entries: String = Kind::ALL.into_iter().filter(has).map(entry).collect();
    format!("<p>One axis for each load, logarithmic.</p>\n<ul class=\"legend\">{entries}</ul>\n")
}

/// Introduces the waterfalls.
pub(super) fn waterfalls(subject: &Subject<'_>, shown: usize, left_out: usize) -> String {
    if shown == 0 {
        return missing(
            "No load of this run has three rungs or more of one encoding, each the parent of the next",
            "ndecho ladder --rungs '{uring/raw,uring/h1,tokio/h1,tokio/hyper*,tokio/axum}/npy' \
             --sizes 64KiB",
        );
    }
    let mut html =
        "<p>Each bar begins where the rung below it ends. Linear scales from 0, one for \
                    each load.</p>\n"
            .to_owned();
    if left_out > 0 {
        html.push_str(&format!(
            "<p>{left_out} more are left out; <a href=\"#all\">the table</a> has their cells.</p>\n"
        ));
    }
    let layers = layers::all(subject);
    if layers.is_empty() {
        return html;
    }
    html + "<p>The strip below a rung shows its layers.</p>\n" + &layers::legend(&layers)
}

pub(super) fn sizes(subject: &Subject<'_>) -> String {
    let figures = sizes::figures(subject);
    if figures.is_empty() {
        return missing(
            "No rung of this run was measured at two sizes under one load, so there is no line \
             a + b × size and no crossover",
            "ndecho ladder --rungs 'uring/h2/protobuf,tokio/tonic/protobuf:prost' \
             --sizes 8,2KiB,64KiB,1MiB --connections 1 --in-flight 8",
        );
    }
    figures.into_iter().map(|(figure, table)| figure.html() + &table).collect()
}

pub(super) fn encodings(subject: &Subject<'_>) -> String {
    let tables = heat::tables(subject);
    if tables.is_empty() {
        return missing(
            "No load of this run has two encodings on two stacks",
            "ndecho ladder --rungs 'uring/h1/*,tokio/axum/*' --sizes 64KiB",
        );
    }
    let tables: String = tables.into_iter().map(|(html, _)| html).collect();
    format!(
        "<p>CPU time per request of the cheapest codec of each encoding. A darker cell is \
         dearer, on a logarithmic scale.</p>\n{tables}"
    )
}

pub(super) fn layers(subject: &Subject<'_>) -> String {
    let tables = layers::tables(subject);
    let obstacles: String = profile::obstacles(subject.run)
        .into_iter()
        .map(|(rung, reason)| {
            format!("<p>{}</p>\n", escape(&format!("{rung} was not profiled: {reason}.")))
        })
        .collect();
    if !tables.is_empty() {
        return format!(
            "<p>Samples of the CPU clock, as shares of a profiled server, times the CPU time of \
             an unprofiled one.</p>\n{tables}{obstacles}"
        );
    }
    obstacles
        + &missing(
            "No server of this run was profiled, so the layers inside a rung are unknown",
            &profile_command(subject),
        )
}

/// Returns the command that profiles the rungs of the first waterfall.
pub(super) fn profile_command(subject: &Subject<'_>) -> String {
    let of_answer = subject.answer.as_ref().and_then(|answer| answer.layers.first());
    let load = of_answer.map_or(0, |layers| layers.load);
    let chain = subject.loads.get(load).map(|load| waterfall::chains(load));
    let chain = chain.and_then(|chains| chains.into_iter().next());
    let rungs = match chain {
        // A name from a record may be anything; only names of the ladder go into a command.
        Some(chain) => chain.join(" "),
        None => "uring/h2/protobuf tokio/tonic/protobuf:prost".to_owned(),
    };
    let place = subject.sections.get(load).map_or_else(String::new, |section| {
        format!(
            " --sizes {} --connections {} --in-flight {}",
            section.array.bytes, section.connections, section.in_flight
        )
    });
    format!("ndecho profile {rungs}{place}")
}

pub(super) fn counts(run: &Run) -> String {
    let Some(lines) = counts::lines(run) else {
        return missing(
            "System calls and allocations were not counted",
            "ndecho ladder --counts --rungs 'uring/h2/protobuf,tokio/tonic/protobuf:prost' \
             --sizes 8",
        );
    };
    format!("<p>{}.</p>\n{}", sentence(counts::TITLE), table(&lines, "Table of counts"))
}

/// Returns the lanes of a run: protocols and codecs in memory.
pub(super) fn lanes(run: &Run) -> String {
    match lanes::lines(run) {
        Some(lines) => format!("<p>{}</p>\n{}", lanes::NOTE, table(&lines, "Table of lanes")),
        None => missing(
            "Protocols and codecs were not measured in memory",
            "ndecho ladder --attribute --rungs '{uring/raw,uring/h2,tokio/h2}/protobuf' --sizes 8",
        ),
    }
}

/// Returns a table of `lines`, of which the first is the head, and the same as CSV.
fn table(lines: &[Vec<String>], label: &str) -> String {
    let (head, rows) = lines.split_first().expect("a table has a head");
    let cells = |line: &[String]| -> String {
        line[1..].iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect()
    };
    let rows: String = rows
        .iter()
        .map(|row| {
            format!("<tr><th scope=\"row\">{}</th>{}</tr>\n", breakable(&row[0]), cells(row))
        })
        .collect();
    let heads: String =
        head.iter().map(|head| format!("<th scope=\"col\">{}</th>", escape(head))).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"{label}\"><table><thead><tr>{heads}</tr></thead>\n<tbody>\n\
         {rows}</tbody></table></div>\n<details class=\"data\"><summary>Figures as CSV</summary>\
         <pre tabindex=\"0\">{}</pre></details>\n",
        escape(&csv_of(lines))
    )
}

pub(super) fn records() -> String {
    "<p>The records of the run are in this page. The latencies of a cell are kept together, not \
     launch by launch; every report is the same.</p>\n\
     <pre class=\"commands\" tabindex=\"0\">ndecho report page.html              # the answer again; also --full and --format csv\n\
     ndecho report page.html --pictures F # every picture as a file in the folder F\n\
     ndecho compare old.html page.html    # what changed beyond the noise</pre>\n"
        .to_owned()
}

pub(super) fn missing(what: &str, command: &str) -> String {
    format!(
        "<p class=\"missing\">{what}. To measure it:</p>\n\
         <pre class=\"commands\" tabindex=\"0\">{}</pre>\n",
        escape(command)
    )
}
