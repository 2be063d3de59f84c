use super::*;

const WHOLE: &str = r#"
name = "some-server"
about = "a server"
language = "C"
licence = "MIT"
version = "some 1.0"
protocol = "h1"
codecs = ["json", "json:fast", "msgpack"]
faults = ["slow on Mondays"]

[setup]
environment = "shared"
needs = ["cc"]
files = ["../lock"]
steps = [["cc", "-o", "{env}/server", "server.c"]]

[start]
command = ["{env}/server", "--port", "{port}", "--cpu={cpu}", "--codec", "{codec}", "{not a placeholder}"]
ready = "ready {address} now"
warmup_s = 15

[limits]
body_bytes_max = 1000
in_flight_max = 100
when = [
  { array_bytes_min = 65536, in_flight_max = 10 },
  { array_bytes_min = 1000, client = "python", in_flight_max = 50 },
]

[seed]
json = "some json"
"#;

fn read(text: &str) -> Result<Manifest, ManifestError> {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("some-server");
    std::fs::create_dir(&folder).expect("it is new");
    std::fs::write(folder.join(FILE_NAME), text).expect("it can be written");
    Manifest::read(&folder.join(FILE_NAME))
}

#[test]
fn a_whole_manifest_is_read() {
    let manifest = read(WHOLE).expect("it is sound");
    assert_eq!((manifest.environment(), manifest.protocol), ("shared", Protocol::H1));
    let encodings: Vec<Encoding> = manifest.codecs.iter().map(CodecName::encoding).collect();
    assert_eq!(encodings, [Encoding::Json, Encoding::Json, Encoding::Msgpack]);
    assert_eq!(manifest.start.ready.around_address(), ("ready ", " now"));
    assert_eq!(manifest.start.warmup_s, Some(15));
    let values = [("{env}", "/e"), ("{port}", "0"), ("{cpu}", "1"), ("{codec}", "json:fast")];
    let words: Vec<String> = manifest.start.command.iter().map(|word| word.fill(&values)).collect();
    let expected =
        ["/e/server", "--port", "0", "--cpu=1", "--codec", "json:fast", "{not a placeholder}"];
    assert_eq!(words, expected);
}

#[test]
fn optional_parts_have_defaults() {
    let cut = |from: &str, to: &str| {
        let (start, end) = (WHOLE.find(from).expect(from), WHOLE.find(to).expect(to));
        format!("{}{}", &WHOLE[..start], &WHOLE[end..])
    };
    let no_setup = read(&cut("[setup]", "[start]")).expect("setup has a default");
    assert_eq!(no_setup.environment(), "some-server");
    let no_limits = read(&cut("[limits]", "[seed]")).expect("limits have a default");
    assert_eq!(no_limits.limits.in_flight_max(1 << 40, Client::Own), None);
}

#[test]
fn the_lowest_limit_that_applies_holds() {
    let limits = read(WHOLE).expect("it is sound").limits;
    assert_eq!(limits.in_flight_max(65_535, Client::Own), Some(100));
    assert_eq!(limits.in_flight_max(65_536, Client::Own), Some(10));
    assert_eq!(limits.in_flight_max(999, Client::Python), Some(100));
    assert_eq!(limits.in_flight_max(65_535, Client::Python), Some(50));
    assert_eq!(limits.in_flight_max(65_536, Client::Python), Some(10));
}

#[test]
fn errors_name_the_file_and_the_key() {
    let cases = [
        (
            "name = \"some-server\"",
            "name = \"other\"",
            "name: \"other\", expected the name of its folder",
        ),
        ("licence = \"MIT\"", "", "missing field `licence`"),
        ("licence = \"MIT\"", "licence = 5", "licence = 5"),
        ("licence = \"MIT\"", "license = \"MIT\"", "unknown field `license`"),
        ("[limits]", "[limits]\nin_flight = 1", "unknown field `in_flight`"),
        ("protocol = \"h1\"", "protocol = \"h3\"", "unknown variant `h3`"),
        ("\"msgpack\"]", "\"xml\"]", "codec \"xml\" has an unknown encoding"),
        ("\"msgpack\"]", "\"multipart\"]", "codecs: HTTP/1.1 does not carry multipart"),
        ("protocol = \"h1\"", "protocol = \"zmtp\"", "codecs: ZMTP does not carry json"),
        ("\"msgpack\"]", "\"json:a b\"]", "expected letters, digits and -"),
        ("\"msgpack\"]", "\"json\"]", "codecs: json is listed twice"),
        ("[\"json\", \"json:fast\", \"msgpack\"]", "[]", "codecs: empty"),
        ("json = \"some json\"", "npy = \"some npy\"", "seed: npy is not in the list of codecs"),
        ("\"{port}\"", "\"{prt}\"", "start.command: \"{prt}\" has {prt}, expected {env}, {port}"),
        (
            "{env}/server\", \"server.c",
            "{port}\", \"server.c",
            "setup.steps: \"{port}\" has {port}",
        ),
        ("ready {address} now", "ready", "start.ready: \"ready\", expected {address} once"),
        ("[[\"cc\", \"-o\", \"{env}/server\", \"server.c\"]]", "[[]]", "setup.steps: no program"),
        ("in_flight_max = 100", "in_flight_max = 0", "limits.in_flight_max: 0"),
        ("warmup_s = 15", "warmup_s = 0", "start.warmup_s: 0"),
        ("warmup_s = 15", "warmup_s = 16", "start.warmup_s: 16, expected at most 15"),
        ("environment = \"shared\"", "environment = \"../x\"", "setup.environment: \"../x\""),
        ("[seed]", "[seed", "[seed"),
    ];
    for (from, to, expected) in cases {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{from}");
        let error = read(&text).expect_err(to).to_string();
        assert!(error.contains(FILE_NAME) && error.contains(expected), "{to}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let missing = Manifest::read(Path::new("/no/such/file")).expect_err("nothing is there");
    assert!(missing.to_string().starts_with("/no/such/file: "), "{missing}");
}

#[test]
fn the_old_file_name_is_read_and_reported() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("some-server");
    std::fs::create_dir(&folder).expect("it is new");
    std::fs::write(folder.join("peer.toml"), WHOLE).expect("it can be written");
    let mut told = Vec::new();
    let servers = crate::external::read(home.path(), &mut |line| told.push(line.to_owned()));
    assert_eq!(servers.expect("it is sound")[0].manifest.name, "some-server");
    assert!(told[0].ends_with("peer.toml: this file is now called manifest.toml"), "{told:?}");
}
