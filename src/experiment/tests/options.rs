use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::array::{DType, NdArray, Shape};
use crate::axis::{Encoding, Family, Malloc, Rung};
use crate::codec;
use crate::codec::npy::Npy;
use crate::experiment::any_rung::AnyRung;
use crate::experiment::cell::Cell;
use crate::experiment::options::RunOptions;
use crate::experiment::plan::Plan;
use crate::experiment::preset::Preset;
use crate::external::{self, ExternalServer};
use crate::ladder::table;
use crate::record::{ArrayInfo, Client, Variant};

fn usual(plan: &Plan) -> impl Iterator<Item = &Cell> {
    plan.cells.iter().filter(|cell| cell.variant == Variant::Usual)
}

fn names(plan: &Plan) -> Vec<String> {
    usual(plan).map(Cell::to_string).collect()
}

fn plan(options: RunOptions) -> Plan {
    options.plan().expect("valid options")
}

#[test]
fn every_preset_makes_a_plan() {
    for preset in [
        Preset::Quick,
        Preset::Broad,
        Preset::Seed,
        Preset::Messages,
        Preset::Compression,
        Preset::Chains,
        Preset::Full,
    ] {
        let plan = plan(RunOptions::new(preset));
        assert!(plan.blocks.min >= 5 && !plan.cells.is_empty(), "{}", preset.name());
        for cell in plan.cells.iter().filter(|cell| cell.skip.is_some()) {
            let is_image = preset == Preset::Full && cell.array.shape.len() == 3;
            let is_halves = preset == Preset::Messages && cell.array.dtype == "<f2";
            let has_none = cell.rung.coding_obstacle(cell.coding).is_some();
            assert!(is_image || is_halves || has_none, "{} {cell}: {:?}", preset.name(), cell.skip);
        }
    }
    let full = plan(RunOptions::new(Preset::Full));
    for rung in table::rungs() {
        assert!(full.cells.iter().any(|cell| cell.rung == rung.into()), "{rung} is not in full");
    }
}

/// Returns the encodings that a plan tries with an array, and those that it skips.
fn encodings(plan: &Plan, dtype: &str, dims: &[u64]) -> [BTreeSet<&'static str>; 2] {
    let is_it = |cell: &&Cell| cell.array.dtype == dtype && cell.array.shape == dims;
    [false, true].map(|is_skipped| {
        let cells = usual(plan).filter(is_it).filter(|cell| cell.skip.is_some() == is_skipped);
        cells.map(|cell| cell.rung.encoding().name()).collect()
    })
}

#[test]
fn messages_asks_for_as_many_halves_as_floats() {
    let plan = plan(RunOptions::new(Preset::Messages));
    let [floats, no_floats] = encodings(&plan, "<f4", &[16_384]);
    let [halves, no_halves] = encodings(&plan, "<f2", &[16_384]);
    let [doubles, no_doubles] = encodings(&plan, "<f8", &[1]);
    assert!(no_floats.is_empty() && no_doubles.is_empty(), "{no_floats:?} {no_doubles:?}");
    assert!(floats == doubles && floats.contains("npy"), "{floats:?} {doubles:?}");
    let lists = BTreeSet::from(["kserve_typed", "protobuf_packed"]);
    assert_eq!(no_halves, lists, "protobuf has no half");
    assert!(halves.is_disjoint(&no_halves));
    assert_eq!(&halves | &no_halves, floats);
    let sizes = RunOptions { sizes: Some(vec![8]), ..RunOptions::new(Preset::Messages) };
    assert!(
        usual(&self::plan(sizes)).all(|cell| cell.array.dtype == "<f8"),
        "--sizes replaces all"
    );
}

#[test]
fn full_has_images_of_bytes_and_of_bools_for_every_encoding_that_carries_them() {
    let plan = plan(RunOptions::new(Preset::Full));
    for (dtype, missing) in [("|u1", &[][..]), ("|b1", &["arrow", "cbor"])] {
        let [tried, skipped] = encodings(&plan, dtype, &[480, 640, 3]);
        assert_eq!(skipped, missing.iter().copied().collect(), "{dtype}");
        assert_eq!(tried.len() + skipped.len(), Encoding::ALL.len(), "{dtype}: {tried:?}");
    }
}

#[test]
fn every_external_server_is_a_rival_next_to_our_own_of_its_encoding_at_equal_depth() {
    let error = RunOptions::new(Preset::Rivals).plan().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no folder of external servers"), "{error}");
    let external = external_servers();
    let plan = plan(RunOptions { external: external.clone(), ..RunOptions::new(Preset::Rivals) });
    for server in &external {
        let name = &server.manifest.name;
        let is_its = |cell: &Cell| cell.rung.to_string().starts_with(&format!("external/{name}/"));
        for bytes in [8, 64 << 10, 1 << 20] {
            let here = usual(&plan).filter(|cell| cell.array.bytes == bytes && is_its(cell));
            assert!(here.count() > 0, "{name}, {bytes} B");
        }
    }
    for cell in usual(&plan) {
        let own = cell.rung.null_server();
        let is_there = |other: &Cell| {
            own.is_some_and(|own| other.rung == own.into() && other.is_same_load(cell))
        };
        let is_spoken = cell.rung.family().own().is_some();
        assert_eq!(usual(&plan).any(is_there), is_spoken, "{cell} and {own:?}");
        assert_eq!((cell.concurrency.connections, cell.concurrency.in_flight), (8, 8), "{cell}");
    }
}

#[test]
fn each_rung_of_the_chains_stands_next_to_its_parent_under_the_same_load() {
    let plan = plan(RunOptions::new(Preset::Chains));
    let has = |cell: &Cell, rung: Rung| {
        usual(&plan).any(|other| other.rung == rung.into() && other.is_same_load(cell))
    };
    let mut ends = 0;
    for cell in usual(&plan) {
        match cell.parent {
            Some(parent) => assert!(has(cell, parent), "{cell} without {parent}"),
            None => ends += 1,
        }
    }
    let loads: BTreeSet<String> =
        usual(&plan).map(|cell| format!("{} {}", cell.array.bytes, cell.concurrency)).collect();
    assert_eq!(ends, loads.len(), "one root for each array and load");
    assert_eq!(loads.len(), 8, "four arrays, and one load for each of the two chains");
}

#[test]
fn quick_has_few_cells_and_makes_ten_blocks_in_three_minutes() {
    let plan = plan(RunOptions::new(Preset::Quick));
    // Starting and ending both processes took 37 ms a trial on a busy machine; a slice takes 5 ms
    // more than its two parts.
    let slicing = plan.slicing(Client::Own).unwrap();
    let slice = slicing.head + slicing.slice + Duration::from_millis(5);
    let trial =
        |cell: &Cell| plan.warmup + slicing.rounds(cell.window) * slice + Duration::from_millis(50);
    let total = 10 * plan.cells.iter().map(trial).sum::<Duration>();
    assert!(total < plan.blocks.time.unwrap(), "{total:?}, {} cells", plan.cells.len());
    assert!(plan.cells.iter().all(|cell| !cell.is_once) && plan.cells.len() < 50);
}

#[test]
fn quick_asks_the_same_of_an_array_in_a_file() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let shape = Shape::new(&[2, 3]).expect("two dimensions");
    let array = NdArray::new(DType::parse("|u1").expect("listed"), shape, vec![7; 6]);
    let message = codec::message(&Npy, &array.expect("whole").view()).expect("npy carries it");
    std::fs::write(file.path(), message).expect("it is writable");
    let array = Some(file.path().to_owned());
    let plan = plan(RunOptions { array, ..RunOptions::new(Preset::Quick) });
    let count =
        |load: &str| usual(&plan).filter(|cell| cell.concurrency.to_string() == load).count();
    assert_eq!((count("1x1000"), count("1x1"), count("8x1")), (9, 9, 12));
    assert_eq!(usual(&plan).count(), 30);
}

#[test]
fn every_rung_of_a_preset_but_the_floor_has_a_ratio() {
    for preset in [Preset::Quick, Preset::Broad, Preset::Seed] {
        let plan = plan(RunOptions::new(preset));
        for cell in usual(&plan) {
            let is_there = |rung: Option<Rung>| {
                plan.cells.iter().any(|other| {
                    rung.is_some_and(|rung| other.rung == rung.into())
                        && (other.concurrency, &other.array) == (cell.concurrency, &cell.array)
                })
            };
            let is_compared = is_there(cell.parent) || is_there(cell.reference);
            assert!(is_compared || cell.rung.family() == Family::Raw, "{cell}");
        }
    }
}

#[test]
fn raw_gets_the_loads_of_the_rungs_chosen_with_it() {
    let cells = |globs: &str| {
        let options = RunOptions {
            rungs: Some(globs.to_owned()),
            sizes: Some(vec![8]),
            ..RunOptions::new(Preset::Quick)
        };
        names(&plan(options))
    };
    assert_eq!(cells("uring/raw/npy"), ["uring/raw/npy 8 B 1x1000", "uring/raw/npy 8 B 50x1"]);
    assert_eq!(cells("uring/{raw,h1}/npy"), ["uring/raw/npy 8 B 50x1", "uring/h1/npy 8 B 50x1"]);
}

#[test]
fn flags_replace_the_usual_load() {
    let options = |connections, in_flight| RunOptions {
        rungs: Some("uring/{raw,h1}/npy,uring/h2-crate/npy".to_owned()),
        sizes: Some(vec![8]),
        connections,
        in_flight,
        ..RunOptions::new(Preset::Quick)
    };
    let loads = |options: RunOptions| -> Vec<String> {
        usual(&plan(options)).map(|cell| cell.concurrency.to_string()).collect()
    };
    assert_eq!(loads(options(Some(4), Some(4))), ["4x1", "4x1", "4x1"]);
    assert_eq!(loads(options(None, Some(8))), ["1x8", "8x1", "1x8"]);
    let error = options(Some(4), Some(8)).plan().unwrap_err().to_string();
    assert!(error.contains("uring/h1/npy carries one request at a time"), "{error}");
}

fn external_servers() -> Vec<Arc<ExternalServer>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/external"));
    external::read(folder, &mut |line| panic!("{line}")).expect("the manifests are sound")
}

#[test]
fn external_rungs_are_tried_where_they_are_asked_for_and_the_seed_has_rows_for_some() {
    let rungs = |preset, every_external, globs: Option<&str>| {
        let rungs = globs.map(str::to_owned);
        let options = RunOptions {
            external: external_servers(),
            every_external,
            rungs,
            ..RunOptions::new(preset)
        };
        let mut names: Vec<String> =
            plan(options).cells.iter().map(|cell| cell.rung.to_string()).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| name.starts_with("external/"));
        names
    };
    let all = external::rungs(&external_servers()).len();
    assert_eq!(rungs(Preset::Quick, false, None), [""; 0]);
    assert_eq!(rungs(Preset::Quick, true, None).len(), all);
    assert_eq!(rungs(Preset::Seed, false, None).len(), 11);
    assert_eq!(rungs(Preset::Seed, true, None).len(), all);
    let globs = "uring/h1/npy,external/aiohttp/json*";
    let of_aiohttp = [
        "external/aiohttp/json",
        "external/aiohttp/json:orjson",
        "external/aiohttp/json_binary",
        "external/aiohttp/json_binary:pybase64",
    ];
    assert_eq!(rungs(Preset::Quick, false, Some(globs)), of_aiohttp);
}

#[test]
fn a_server_that_compiles_itself_asks_for_a_longer_warm_up() {
    let rungs = external::rungs(&external_servers());
    for rung in rungs {
        let is_java = rung.server.manifest.name == "java-grpc";
        let warmup = AnyRung::External(rung).warmup();
        assert_eq!(warmup > Preset::Full.warmup(), is_java, "{warmup:?}");
    }
    let own = AnyRung::from("uring/h2/protobuf".parse::<Rung>().unwrap());
    assert_eq!(own.warmup(), Duration::ZERO);
}

#[test]
fn external_rungs_have_a_standard_and_no_parent() {
    let globs = Some("external/{grpcio/protobuf,aiohttp/json}".to_owned());
    let plan = plan(RunOptions {
        external: external_servers(),
        rungs: globs,
        ..RunOptions::new(Preset::Seed)
    });
    let standard = ["tokio/axum/json:serde", "tokio/tonic/protobuf:prost"];
    for cell in usual(&plan) {
        let reference = cell.reference.expect("one of the two").to_string();
        assert!(cell.parent.is_none() && standard.contains(&reference.as_str()), "{cell}");
    }
    assert_eq!(plan.external().len(), 2);
}

#[test]
fn the_python_client_leaves_out_what_it_cannot_speak_to() {
    let options = RunOptions { clients: vec![Client::Python], ..RunOptions::new(Preset::Seed) };
    let plan = plan(options.clone());
    assert!(plan.cells.iter().all(|cell| cell.rung.family() != Family::Raw));
    let raw = RunOptions { rungs: Some("uring/raw/*".to_owned()), ..options };
    assert!(raw.plan().unwrap_err().to_string().contains("none of the chosen rungs"));
}

#[test]
fn a_cell_that_one_of_two_clients_cannot_load_stays() {
    let options = |clients: &[Client]| RunOptions {
        clients: clients.to_vec(),
        rungs: Some("uring/{raw,h1}/npy,uring/h2/protobuf".to_owned()),
        sizes: Some(vec![8]),
        ..RunOptions::new(Preset::Quick)
    };
    let loaded = |clients: &[Client]| -> Vec<(String, Vec<Client>)> {
        let plan = plan(options(clients));
        let clients = |cell: &Cell| {
            let clients = plan.clients_of(cell).iter().copied();
            clients.filter(|client| cell.obstacle(*client).is_none()).collect()
        };
        let first = |cell: &Cell| cell.rung.to_string().split('/').nth(1).map(str::to_owned);
        usual(&plan).map(|cell| (first(cell).unwrap(), clients(cell))).collect()
    };
    let (own, wrk) = (Client::Own, Client::Wrk);
    let both = loaded(&[own, wrk]);
    assert!(both.contains(&("raw".to_owned(), vec![own])), "{both:?}");
    assert!(both.contains(&("h1".to_owned(), vec![own, wrk])), "{both:?}");
    assert!(both.contains(&("h2".to_owned(), vec![own])), "{both:?}");
    assert_eq!(loaded(&[wrk]), [("h2".to_owned(), vec![]), ("h1".to_owned(), vec![wrk])]);
}

#[test]
fn a_size_that_is_no_vector_is_refused() {
    let options = RunOptions { sizes: Some(vec![12]), ..RunOptions::new(Preset::Quick) };
    assert!(options.plan().unwrap_err().to_string().starts_with("size 12 is not a multiple"));
}

#[test]
fn what_a_codec_cannot_carry_is_skipped_with_the_reason() {
    let array = ArrayInfo { dtype: "<c16".to_owned(), shape: vec![2], bytes: 32, data_set: None };
    let part = Preset::Full.parts()[0];
    let rungs: Vec<AnyRung> = part.rungs().into_iter().map(AnyRung::Own).collect();
    let cells = RunOptions::new(Preset::Full).cells(&part, &rungs, &array, |_| None);
    for cell in cells {
        let has_none = matches!(
            cell.rung.encoding(),
            Encoding::Json
                | Encoding::ProtobufPacked
                | Encoding::Cbor
                | Encoding::Safetensors
                | Encoding::Kserve
                | Encoding::KserveHttp
                | Encoding::KserveTyped
                | Encoding::Arrow
        );
        assert_eq!(cell.skip.is_some(), has_none, "{cell}: {:?}", cell.skip);
    }
}

/// Writes an array to a file and returns the reason of each cell that is skipped, by codec.
fn skipped(dtype: &str, dims: &[u64], data: Vec<u8>) -> BTreeMap<String, String> {
    let shape = Shape::new(dims).expect("few dimensions");
    let array = NdArray::new(DType::parse(dtype).expect("listed"), shape, data).expect("whole");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let message = codec::message(&Npy, &array.view()).expect("npy carries every array");
    std::fs::write(file.path(), message).expect("it is writable");
    let array = Some(file.path().to_owned());
    let plan = plan(RunOptions {
        rungs: Some("uring/raw/*".to_owned()),
        array,
        ..RunOptions::new(Preset::Full)
    });
    let reason = |cell: &Cell| Some((cell.rung.codec().to_string(), cell.skip.clone()?));
    usual(&plan).filter_map(reason).collect()
}

#[test]
fn what_the_values_or_the_shape_forbid_is_skipped_with_the_reason() {
    let all = |reasons: &BTreeMap<String, String>| reasons.keys().cloned().collect::<Vec<_>>();
    let lists = ["json", "json:serde", "json:serde_value", "json:simd", "json:sonic"];
    assert_eq!(all(&skipped("<f8", &[0, 5], vec![])), lists);
    let nan = skipped("<f8", &[1], f64::NAN.to_le_bytes().to_vec());
    assert_eq!(all(&nan), lists[1..]);
    assert_eq!(nan["json:serde"], "json:serde: cannot carry NaN");
    let zero = skipped("<f8", &[1], (-0.0_f64).to_le_bytes().to_vec());
    assert_eq!(all(&zero), ["json:sonic"]);
    assert_eq!(all(&skipped("<f8", &[1], 0.5_f64.to_le_bytes().to_vec())), [""; 0]);
}

#[test]
fn an_array_that_is_not_there_is_named() {
    let options =
        RunOptions { array: Some("/no/such.npy".into()), ..RunOptions::new(Preset::Quick) };
    let error = format!("{:#}", options.plan().unwrap_err());
    assert!(error.starts_with("cannot read /no/such.npy: "), "{error}");
}

#[test]
fn below_tonic_as_documented_the_layers_have_a_malloc_that_keeps_its_pages() {
    let mallocs = |wanted: Option<Malloc>| {
        let options = RunOptions { malloc: wanted, ..RunOptions::new(Preset::Quick) };
        let cells = options.plan().unwrap().cells;
        let of_cell = |cell: &Cell| (cell.array.bytes, cell.rung.to_string(), cell.malloc(wanted));
        cells.iter().map(of_cell).collect::<Vec<_>>()
    };
    for (bytes, rung, malloc) in mallocs(None) {
        let keeps = rung.contains(":best") || bytes != 65_536 && rung.ends_with(":prost");
        let is_documented = rung.starts_with("tokio/tonic/");
        let expected = if keeps && !is_documented { Malloc::Keep } else { Malloc::Default };
        assert_eq!(malloc, expected, "{rung} at {bytes} B");
    }
    let are_default = |(_, _, malloc): (u64, String, Malloc)| malloc == Malloc::Default;
    assert!(mallocs(Some(Malloc::Default)).into_iter().all(are_default));
}
