//! Tests of the exports: each has the samples of the table, and its format is valid.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::axis::Layer;
use crate::probe::profile::{CallStack, LayerSamples, Profile, StackFunction, Stacks};
use crate::record::tests::{header, trial};
use crate::record::{Trial, TrialStacks, Variant};
use crate::report::Run;

use super::icicle::{self, Size};
use super::{Form, Profiled};

fn function(name: &str, layer: Option<Layer>) -> StackFunction {
    StackFunction { name: name.to_owned(), layer }
}

/// Functions from the outermost one inwards, index of the one that decided, layer, samples.
type Row<'a> = (&'a [(&'a str, Option<Layer>)], usize, Layer, u64);

fn stacks(rows: &[Row<'_>]) -> Stacks {
    let functions: Vec<Vec<StackFunction>> = rows
        .iter()
        .map(|(names, ..)| names.iter().map(|(name, layer)| function(name, *layer)).collect())
        .collect();
    let stacks = functions.iter().zip(rows).map(|(functions, (_, decided, layer, samples))| {
        let functions = functions.iter().collect();
        CallStack { functions, decided: *decided, layer: *layer, samples: *samples }
    });
    stacks.collect()
}

fn example() -> Stacks {
    let poll = ("tokio/runtime/task/core.rs poll", Some(Layer::Runtime));
    let frame = ("h2/codec/framed_read.rs decode_frame", Some(Layer::HttpFraming));
    stacks(&[
        // The copy decided in its caller.
        (&[poll, frame, ("core/slice/mod.rs copy", None)], 1, Layer::HttpFraming, 40),
        (&[poll, frame, ("_int_malloc", Some(Layer::Allocator))], 2, Layer::Allocator, 30),
        (&[poll, ("drop_in_place<[u8; 3]>", None), frame], 2, Layer::HttpFraming, 5),
        (&[poll], 0, Layer::Runtime, 4),
        (
            &[("tcp_sendmsg_locked", Some(Layer::KernelSocket)), ("kfree", None)],
            0,
            Layer::KernelSocket,
            20,
        ),
        (&[("<script>alert(\"&\")</script>", None)], 0, Layer::Unattributed, 1),
    ])
}

fn profiled() -> Profiled {
    Profiled {
        server: "tokio/tonic/protobuf:prost".to_owned(),
        load: "float64[1] 8 B, 1 connection, 64 in flight".to_owned(),
        stacks: example(),
    }
}

fn by_layer(stacks: &Stacks) -> BTreeMap<&'static str, u64> {
    let mut layers = BTreeMap::new();
    for stack in stacks.iter() {
        *layers.entry(stack.layer.name()).or_default() += stack.samples;
    }
    layers
}

/// Profile whose table and stacks agree.
fn profile(stacks: Stacks) -> Profile {
    let mut profile = Profile::default();
    for stack in stacks.iter() {
        let layer: &mut LayerSamples = profile.layers.entry(stack.layer).or_default();
        layer.user += stack.samples;
        profile.samples += stack.samples;
    }
    profile.stacks = stacks;
    profile
}

#[test]
fn collapsed_stacks_begin_with_the_layer_and_go_inwards() {
    let text = profiled().render(Form::Collapsed);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    for line in [
        "HTTP framing;tokio/runtime/task/core.rs poll;h2/codec/framed_read.rs decode_frame;core/slice/mod.rs copy 40",
        "HTTP framing;tokio/runtime/task/core.rs poll;drop_in_place<[u8, 3]>;h2/codec/framed_read.rs decode_frame 5",
        "runtime;tokio/runtime/task/core.rs poll 4",
    ] {
        assert!(lines.contains(&line), "{line}\n{text}");
    }
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines {
        let (stack, samples) = line.rsplit_once(' ').unwrap();
        *sums.entry(stack.split(';').next().unwrap()).or_default() +=
            samples.parse::<u64>().unwrap();
    }
    assert_eq!(sums, by_layer(&example()));
}

#[test]
fn a_name_with_a_line_break_makes_no_second_line() {
    let stacks = stacks(&[(&[("a\nb 7", None)], 0, Layer::Unattributed, 1)]);
    let text = Profiled { stacks, ..profiled() }.render(Form::Collapsed);
    assert_eq!(text, "unattributed;a b 7 1\n");
}

/// Columns of the tables of version 60, apart from `length`.
const TABLES: [(&str, &[&str]); 6] = [
    (
        "funcTable",
        &["name", "isJS", "relevantForJS", "resource", "source", "lineNumber", "columnNumber"],
    ),
    (
        "frameTable",
        &[
            "address",
            "inlineDepth",
            "category",
            "subcategory",
            "func",
            "nativeSymbol",
            "innerWindowID",
            "line",
            "column",
        ],
    ),
    ("stackTable", &["frame", "prefix"]),
    ("resourceTable", &["lib", "name", "host", "type"]),
    ("nativeSymbols", &["libIndex", "address", "name", "functionSize"]),
    ("sources", &["uuid", "filename"]),
];

fn column<'a>(table: &'a Value, name: &str) -> &'a Vec<Value> {
    table[name].as_array().unwrap_or_else(|| panic!("no column {name}: {table}"))
}

fn assert_table(name: &str, table: &Value, columns: &[&str]) {
    let length = table["length"].as_u64().unwrap_or_else(|| panic!("{name} has no length"));
    for of_table in columns {
        assert_eq!(column(table, of_table).len() as u64, length, "{name}.{of_table}");
    }
    assert_eq!(table.as_object().unwrap().len(), columns.len() + 1, "{name} has other columns");
}

/// Asserts that every number of a column is that of a row among `rows`.
fn assert_rows(table: &Value, name: &str, rows: usize) {
    for number in column(table, name).iter().filter(|number| !number.is_null()) {
        let number = number.as_u64().unwrap_or_else(|| panic!("{name}: {number}"));
        assert!((number as usize) < rows, "{name}: {number} of {rows}");
    }
}

/// Returns the category of a stack by the rule of the format: that of its frame, or of its caller,
/// or the first grey one.
fn category(profile: &Value, stack: u64) -> String {
    let shared = &profile["shared"];
    let categories = column(&profile["meta"], "categories");
    let mut stack = Some(stack);
    while let Some(index) = stack {
        let frame = shared["stackTable"]["frame"][index as usize].as_u64().unwrap();
        if let Some(category) = shared["frameTable"]["category"][frame as usize].as_u64() {
            return categories[category as usize]["name"].as_str().unwrap().to_owned();
        }
        stack = shared["stackTable"]["prefix"][index as usize].as_u64();
    }
    let grey = categories.iter().find(|category| category["color"] == "grey").expect("a default");
    grey["name"].as_str().unwrap().to_owned()
}

#[test]
fn the_firefox_profile_has_the_fields_that_the_format_requires() {
    let profile: Value = serde_json::from_str(&profiled().render(Form::Firefox)).unwrap();
    let meta = &profile["meta"];
    for field in ["interval", "startTime", "processType", "stackwalk", "version"] {
        assert!(meta[field].is_number(), "meta.{field}: {meta}");
    }
    assert_eq!(meta["preprocessedProfileVersion"], 60);
    assert!(meta["product"].as_str().unwrap().contains("tokio/tonic/protobuf:prost"));
    assert_eq!((column(meta, "markerSchema").len(), column(&profile, "libs").len()), (0, 0));
    let colours = [
        "transparent",
        "purple",
        "green",
        "orange",
        "yellow",
        "lightblue",
        "blue",
        "brown",
        "magenta",
        "red",
        "lightred",
        "darkgrey",
        "grey",
    ];
    for (layer, category) in Layer::ALL.into_iter().zip(column(meta, "categories")) {
        assert_eq!(category["name"], layer.name());
        assert_eq!(category["subcategories"], serde_json::json!(["Other"]));
        assert!(colours.contains(&category["color"].as_str().unwrap()), "{category}");
    }
    let shared = &profile["shared"];
    for (name, columns) in TABLES {
        assert_table(name, &shared[name], columns);
    }
    let rows = |table: &str| shared[table]["length"].as_u64().unwrap() as usize;
    assert_rows(&shared["funcTable"], "name", column(shared, "stringArray").len());
    assert_rows(&shared["frameTable"], "func", rows("funcTable"));
    assert_rows(&shared["frameTable"], "category", Layer::ALL.len());
    assert_rows(&shared["stackTable"], "frame", rows("frameTable"));
    for (index, prefix) in column(&shared["stackTable"], "prefix").iter().enumerate() {
        // Callers stand before the functions that they call.
        assert!(
            prefix.as_u64().is_none_or(|prefix| (prefix as usize) < index),
            "{index}: {prefix}"
        );
    }
    let thread = &profile["threads"][0];
    for text in ["name", "pid", "processType"] {
        assert!(thread[text].is_string(), "{text}: {thread}");
    }
    assert!(thread["isMainThread"].is_boolean() && thread["registerTime"].is_number());
    assert!(thread["pausedRanges"].is_array() && thread["unregisterTime"].is_null());
    let samples = &thread["samples"];
    assert_rows(samples, "stack", rows("stackTable"));
    let count = samples["length"].as_u64().unwrap() as usize;
    for name in ["stack", "time", "weight"] {
        assert_eq!(column(samples, name).len(), count, "{name}");
    }
    assert_eq!(samples["weightType"], "samples");
    let times = column(samples, "time").iter().map(|time| time.as_f64().unwrap());
    assert!(times.is_sorted(), "{samples}");
    let columns = ["data", "name", "startTime", "endTime", "phase", "category"];
    assert_table("markers", &thread["markers"], &columns);
}

#[test]
fn the_samples_of_a_category_are_those_of_the_table() {
    let profiled = profiled();
    let profile: Value = serde_json::from_str(&profiled.render(Form::Firefox)).unwrap();
    let samples = &profile["threads"][0]["samples"];
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (stack, weight) in column(samples, "stack").iter().zip(column(samples, "weight")) {
        let category = category(&profile, stack.as_u64().unwrap());
        *sums.entry(category).or_default() += weight.as_u64().unwrap();
    }
    let table: BTreeMap<String, u64> =
        by_layer(&profiled.stacks).into_iter().map(|(name, it)| (name.to_owned(), it)).collect();
    assert_eq!(sums, table);
    // A function inside of the one that decided has its layer; a caller keeps its own.
    let name = |stack: u64| {
        let shared = &profile["shared"];
        let frame = shared["stackTable"]["frame"][stack as usize].as_u64().unwrap() as usize;
        let function = shared["frameTable"]["func"][frame].as_u64().unwrap() as usize;
        shared["stringArray"][function].as_str().unwrap().to_owned()
    };
    let rows = profile["shared"]["stackTable"]["length"].as_u64().unwrap();
    for stack in 0..rows {
        let layer = category(&profile, stack);
        match name(stack).as_str() {
            "core/slice/mod.rs copy" => assert_eq!(layer, "HTTP framing"),
            "tokio/runtime/task/core.rs poll" => assert_eq!(layer, "runtime"),
            "kfree" => assert_eq!(layer, "kernel socket"),
            _ => {}
        }
    }
}

#[test]
fn the_icicle_shows_shares_escapes_names_and_has_no_script() {
    let profiled = profiled();
    let svg = profiled.render(Form::Icicle);
    assert_eq!(svg, profiled.render(Form::Icicle), "the same stacks give the same bytes");
    for text in [
        "<title>HTTP framing: 45.0 %</title><rect class=\"http-framing\"",
        "<title>h2/codec/framed_read.rs decode_frame (HTTP framing): 45.0 %</title>",
        // Who allocates: the caller, in the colour of its own layer.
        "<title>h2/codec/framed_read.rs decode_frame (HTTP framing): 30.0 %</title>\
         <rect class=\"http-framing\"",
        "<title>_int_malloc (allocator): 30.0 %</title>",
        // Crate and file stand above the function, which does not repeat them.
        "<title>h2 (HTTP framing): 45.0 %</title>",
        ">decode_frame</text>",
        "&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;",
        "allocator 30.0 %",
    ] {
        assert!(svg.replace('\n', "").contains(text), "{text}\n{svg}");
    }
    for forbidden in ["<script", "href", "url(", "http:"] {
        let outside = svg.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains(forbidden), "{forbidden}");
    }
    // Functions inside of the one that decided are part of it; callers without a layer say nothing.
    for inside in ["core/slice/mod.rs copy", "kfree", "drop_in_place"] {
        assert!(!svg.contains(inside), "{inside}: {svg}");
    }
}

#[test]
fn narrow_areas_and_deep_rows_are_left_out() {
    let count = |size: &Size| icicle::render(&profiled(), size).matches("<g>").count();
    let all = count(&Size::default());
    let wide = count(&Size { area_min: 100.0, ..Size::default() });
    let flat = count(&Size { rows_max: 0, ..Size::default() });
    assert_eq!((all, flat), (18, 6), "all samples and five layers");
    assert!(wide < all, "{wide} of {all}");
}

#[test]
fn stacks_survive_their_file_and_return_to_their_trial() {
    let trial_of = |round: u32, stacks: Stacks| Trial {
        variant: Variant::Profiled,
        profile: Some(Box::new(profile(stacks))),
        ..trial("tokio/tonic/protobuf:prost", round, 10_000)
    };
    let trials = [trial_of(0, example()), trial_of(1, example())];
    let lines: Vec<String> = trials
        .iter()
        .map(|trial| serde_json::to_string(&TrialStacks::of_trial(trial).unwrap()).unwrap())
        .collect();
    let record = serde_json::to_string(&trials[0]).unwrap();
    assert!(!record.contains("decode_frame"), "the record has no stacks: {record}");
    let mut read: Vec<Trial> =
        [trial_of(0, Stacks::default()), trial_of(1, Stacks::default())].to_vec();
    for (index, trial) in read.iter_mut().enumerate() {
        trial.profile = Some(Box::new(Profile {
            stacks: Stacks::default(),
            ..(**trials[index].profile.as_ref().unwrap()).clone()
        }));
    }
    for line in &lines {
        let stacks: TrialStacks = serde_json::from_str(line).unwrap();
        assert!(stacks.restore(&mut read));
    }
    assert_eq!(read, trials);
    let profiled = Profiled::of_run(&Run::new(header(), read));
    assert_eq!(profiled.len(), 1);
    let twice: BTreeMap<&str, u64> =
        by_layer(&example()).into_iter().map(|(name, it)| (name, 2 * it)).collect();
    assert_eq!(by_layer(&profiled[0].stacks), twice);
    // Stacks of a launch that was repeated have no trial with as many samples.
    let stray: TrialStacks = serde_json::from_str(&lines[0]).unwrap();
    assert!(!stray.restore(&mut [trial_of(0, Stacks::default())]));
}

#[test]
fn stacks_that_contradict_themselves_are_refused() {
    let read = |stacks: &str| {
        let functions = r#"[{"name":"a","layer":null},{"name":"b","layer":"runtime"}]"#;
        let text = format!(r#"{{"functions":{functions},"stacks":{stacks}}}"#);
        serde_json::from_str::<Stacks>(&text).map_err(|error| error.to_string())
    };
    let whole = read(r#"[[0,[0,1],1,"runtime",3],[1,[0],0,"unattributed",2]]"#).unwrap();
    let lengths: Vec<usize> = whole.iter().map(|stack| stack.functions.len()).collect();
    assert_eq!(lengths, [2, 2]);
    for (stacks, expected) in [
        (r#"[[1,[0],0,"runtime",3]]"#, "shares 1 functions with the one before, which has 0"),
        (r#"[[0,[2],0,"runtime",3]]"#, "names function 2, but there are 2"),
        (r#"[[0,[],0,"runtime",3]]"#, "has 0 functions, expected 1 to 4096"),
        (r#"[[0,[0],1,"runtime",3]]"#, "was decided by its function 1, but it has 1"),
        (r#"[[0,[0],0,"kernel",3]]"#, "unknown layer"),
    ] {
        let error = read(stacks).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let long = format!("[[0,{:?},0,\"runtime\",1]]", vec![0; 4097]);
    assert!(read(&long).unwrap_err().contains("has 4097 functions"));
}
