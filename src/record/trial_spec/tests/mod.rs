use std::time::Duration;

use super::*;
use crate::array::DType;
use crate::axis::{Encoding, Family, Malloc};

fn load(url: &str, connections: u32, in_flight: u32) -> LoadSpec {
    let url = url.parse().expect("a URL");
    LoadSpec { connections, in_flight, ..LoadSpec::new(url, Encoding::Reflect) }
}

fn trial() -> TrialSpec {
    let server = ServerSpec {
        rung: "uring/h2/protobuf".to_owned(),
        malloc: Some(Malloc::Keep),
        cores: vec![0],
        delay: Some(Duration::from_nanos(501)),
        ..ServerSpec::default()
    };
    let load = LoadSpec {
        settle: Some(Duration::from_nanos(300_000_001)),
        rate_hz: Some(30_000.5),
        warmup: Length::Requests(7),
        ..load("grpc://127.0.0.1:1", 1, 1000)
    };
    TrialSpec { servers: vec![server], load }
}

#[test]
fn a_document_comes_back_as_it_was_sent() {
    let arrays = [
        ArraySpec::vector(24, DType::parse("<c8").expect("a type"), 5).expect("3 items"),
        ArraySpec::File { path: "/a/b.npy".into() },
        ArraySpec::Conformance { seed: 9, body_bytes_max: Some(16_000) },
    ];
    for array in arrays {
        let spec = TrialSpec { load: LoadSpec { array, ..trial().load }, ..trial() };
        let text = spec.to_json();
        assert_eq!(TrialSpec::from_json(&text), Ok(spec), "{text}");
    }
}

#[test]
fn a_mistake_is_named_with_its_place() {
    let cases = [
        ("\"in_flight\":", "\"in_fligt\":", "unknown field `in_fligt`"),
        ("\"cores\":", "\"core\":", "unknown field `core`"),
        ("grpc://127", "ftp://127", "expected grpc://HOST:PORT"),
        ("\"dtype\":\"<f8\"", "\"dtype\":\"|O\"", "|O"),
        ("\"encoding\":\"reflect\"", "\"encoding\":\"xml\"", "\"xml\""),
        ("\"connections\":1", "\"connections\":-1", "-1"),
        ("{\"servers\"", "\"servers\"", "line 1 column"),
    ];
    for (good, bad, want) in cases {
        let text = trial().to_json();
        assert!(text.contains(good), "no {good} in {text}");
        let error = TrialSpec::from_json(&text.replace(good, bad)).expect_err(bad);
        assert!(error.contains(want) && error.contains("column"), "{error}");
    }
}

#[test]
fn older_documents_had_equal_headers() {
    let text = trial().to_json();
    let field = "\"headers\":\"changing\",";
    assert!(text.contains(field), "{text}");
    let older = TrialSpec::from_json(&text.replace(field, "")).expect("it is optional");
    assert_eq!(older.load.knobs.headers, RequestHeaders::Equal);
    assert_eq!(trial().load.knobs.headers, RequestHeaders::Changing);
}

#[test]
fn a_url_is_protocol_and_place() {
    let url: ServerUrl = "grpc://127.0.0.1:50051".parse().expect("a URL");
    assert_eq!((url.family, url.authority()), (Family::Grpc, "127.0.0.1:50051"));
    let url: ServerUrl = "raw://[::1]:7/".parse().expect("a URL");
    assert_eq!(url.to_string(), "raw://[::1]:7");
    let url: ServerUrl = "grpc+unix:/tmp/a b".parse().expect("a URL");
    assert_eq!((url.family, url.authority()), (Family::Grpc, "localhost"));
    assert_eq!(url.to_string(), "grpc+unix:/tmp/a b");
    for bad in [
        "127.0.0.1:1",
        "https://a:1",
        "http://a",
        "http://a:x",
        "http://a:1/x",
        "raw://:1",
        "raw+unix:",
        "ftp+unix:/a",
    ] {
        assert_eq!(bad.parse::<ServerUrl>(), Err(SpecError::Url(bad.to_owned())), "{bad}");
    }
}

#[test]
fn http_carries_one_request_a_connection() {
    assert!(load("http://a:1", 50, 50).check().is_ok());
    let error = load("http://a:1", 4, 64).check().unwrap_err().to_string();
    assert!(error.contains("one request in flight"), "{error}");
    assert!(load("grpc://a:1", 1, 1000).check().is_ok());
    assert!(load("raw://a:1", 8, 4).check().is_err());
    assert!(load("raw://a:1", 0, 0).check().is_err());
}

#[test]
fn one_server_is_loaded() {
    let spec = LoadSpec { targets: Vec::new(), ..load("raw://a:1", 1, 1) };
    assert_eq!(spec.check(), Err(SpecError::Targets { got: 0 }));
}

#[test]
fn windows_and_frames_are_those_of_the_protocol() {
    let check = |h2_window_bytes, h2_frame_bytes_max| {
        let knobs = Knobs { h2_window_bytes, h2_frame_bytes_max, ..Knobs::default() };
        LoadSpec { knobs, ..load("grpc://a:1", 1, 1) }.check()
    };
    assert!(check(1, 1 << 14).is_ok() && check(i32::MAX as u32, (1 << 24) - 1).is_ok());
    assert!(check(0, 1 << 14).is_err() && check(1 << 31, 1 << 14).is_err());
    let error = check(1, 1 << 24).unwrap_err().to_string();
    assert_eq!(error, "--h2-frame-size is 16777216, expected 16384 to 16777215 bytes");
}

#[test]
fn a_rate_is_a_number_of_requests() {
    let with = |rate_hz| LoadSpec { rate_hz: Some(rate_hz), ..load("raw://a:1", 1, 1) };
    assert!(with(20_000.0).check().is_ok());
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(with(wrong).check(), Err(SpecError::Rate(_))), "{wrong}");
    }
}

#[test]
fn shares_add_up() {
    let load = load("raw://a:1", 3, 64);
    let shares: Vec<u32> = (0..3).map(|index| load.share(index)).collect();
    assert_eq!(shares, [22, 21, 21]);
}

#[test]
fn a_message_that_does_not_fit_the_length_field_is_refused() {
    let gib =
        |url, gib: u64| LoadSpec { array: ArraySpec::float64(gib << 30, 1), ..load(url, 1, 1) };
    for url in ["grpc://a:1", "raw://a:1"] {
        assert_eq!(gib(url, 3).check(), Ok(()));
        let error = gib(url, 4).check().unwrap_err().to_string();
        assert!(error.contains("a message of 4294967296 B does not fit"), "{error}");
        assert!(error.contains("at most 4294967295 B"), "{error}");
    }
    assert_eq!(gib("http://a:1", 4).check(), Ok(()));
}

#[test]
fn a_size_is_whole_items() {
    assert!(ArraySpec::vector(12, DType::F8, 1).is_err());
}
