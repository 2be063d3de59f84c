//! Agreement of codecs: the own form and the library form of an encoding accept the same bodies and
//! read the same arrays from them. An accepted body can be written and read again. [`EXCEPTIONS`]
//! lists the differences and their reasons.

use ndecho::array::ArrayView;
use ndecho::codec::{self, ArrayCodec, CodecError, Encoding, implementations};

/// Form that refuses a body which the other form accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refuses {
    Own,
    Library,
}

/// Refusal by one form only.
struct Exception {
    who: Refuses,
    encoding: Encoding,
    /// Part of the text of the refusal.
    says: &'static str,
    /// Part of every such body.
    body: &'static [u8],
    reason: &'static str,
}

const fn own(encoding: Encoding, says: &'static str, reason: &'static str) -> Exception {
    Exception { who: Refuses::Own, encoding, says, body: b"", reason }
}

const fn library(
    encoding: Encoding,
    says: &'static str,
    body: &'static [u8],
    reason: &'static str,
) -> Exception {
    Exception { who: Refuses::Library, encoding, says, body, reason }
}

const ARRAY: &str = "a derived struct is also read from an array of its fields in order";
const PYTHON: &str =
    "RFC 8259 has no such word; Python's json writes and reads it, and skipping it does no harm";
const UNSEEN: &str =
    "serde_json does not look into strings that it skips; we read JSON or refuse it";
const NUMBERED: &str =
    "to a derived struct an integer key is the number of a field; msgpack_numpy has none such";

const EXCEPTIONS: &[Exception] = &[
    own(Encoding::Json, "expected an object", ARRAY),
    own(
        Encoding::Json,
        "values nest deeper than 64",
        "no message needs more; serde_json's own limit is 128",
    ),
    own(Encoding::Json, "not UTF-8", UNSEEN),
    own(Encoding::Json, "an unpaired surrogate", UNSEEN),
    library(Encoding::Json, "expected value", b"NaN", PYTHON),
    library(Encoding::Json, "expected value", b"Infinity", PYTHON),
    library(Encoding::Json, "invalid number", b"-Infinity", PYTHON),
    library(Encoding::Json, "number out of range", b"", "1e400 is an infinity, as in Python"),
    library(
        Encoding::Json,
        "not an integer, or out of range",
        b"-0",
        "-0 is an integer, as in Python; serde_json makes a float of it",
    ),
    own(Encoding::JsonBinary, "expected an object", ARRAY),
    own(
        Encoding::JsonBinary,
        "not allowed together with buffer",
        "to serde a data of null is none; a message with both forms is a sender's mistake",
    ),
    own(
        Encoding::JsonBinary,
        "values nest deeper than 64",
        "no message needs more; serde_json's own limit is 128",
    ),
    own(Encoding::JsonBinary, "not UTF-8", UNSEEN),
    own(Encoding::JsonBinary, "an unpaired surrogate", UNSEEN),
    library(Encoding::JsonBinary, "expected value", b"NaN", PYTHON),
    library(Encoding::JsonBinary, "expected value", b"Infinity", PYTHON),
    library(Encoding::JsonBinary, "invalid number", b"-Infinity", PYTHON),
    own(Encoding::Msgpack, "expected msgpack_numpy's map", ARRAY),
    own(
        Encoding::Msgpack,
        "expected bin or str",
        "rmp-serde takes a list of integers for bytes; msgpack_numpy never writes one",
    ),
    own(Encoding::Msgpack, ": missing", NUMBERED),
    library(Encoding::Msgpack, "duplicate field", b"", NUMBERED),
    library(Encoding::Msgpack, "invalid type", b"", NUMBERED),
    library(Encoding::Msgpack, "wrong msgpack marker", b"", NUMBERED),
    own(
        Encoding::Msgpack,
        "field \"shape\": expected an array",
        "the library form takes a nil for no shape; a 0-d array that names a shape is malformed",
    ),
    own(
        Encoding::Msgpack,
        "unexpected bytes after the map",
        "rmp-serde reads one value and does not look behind it, which hides a sender's mistake",
    ),
    library(
        Encoding::Protobuf,
        "invalid wire type",
        b"",
        "a known number of another wire type is an unknown field to Google's implementations and to ours",
    ),
];

/// Panics if the forms do not agree on `body`. Returns the reason if only one form refuses it.
pub(crate) fn hold(encoding: Encoding, body: &[u8]) -> Option<&'static str> {
    let forms = || implementations().filter(|codec| codec.encoding() == encoding);
    forms().for_each(|codec| again(codec, body));
    let [own, library] = forms().collect::<Vec<_>>()[..] else { return None };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    match (own.decode(body, &mut ours), library.decode(body, &mut theirs)) {
        (Ok(ours), Ok(theirs)) => {
            same(encoding, &ours, &theirs);
            None
        }
        (Err(error), Ok(_)) => Some(excuse(Refuses::Own, encoding, body, &error)),
        (Ok(_), Err(error)) => Some(excuse(Refuses::Library, encoding, body, &error)),
        (Err(_), Err(_)) => None,
    }
}

/// Reads `-0` in a list as +0.0, as Python and our codec do. serde_json reads -0.0.
fn same(encoding: Encoding, ours: &ArrayView<'_>, theirs: &ArrayView<'_>) {
    if encoding != Encoding::Json {
        return assert_eq!(ours, theirs);
    }
    assert_eq!((ours.dtype(), ours.shape()), (theirs.dtype(), theirs.shape()));
    let size = ours.dtype().item_size();
    for (ours, theirs) in ours.data().chunks(size).zip(theirs.data().chunks(size)) {
        let is_zero = ours.iter().all(|byte| *byte == 0);
        let is_zero_but_for_its_sign = theirs.iter().all(|byte| byte & 0x7f == 0);
        assert!(ours == theirs || is_zero && is_zero_but_for_its_sign, "{ours:?} {theirs:?}");
    }
}

/// Checks that `codec` writes and reads an accepted array without a change, also in an echo.
fn again(codec: &dyn ArrayCodec, body: &[u8]) {
    let mut scratch = Vec::new();
    let (mut echo_scratch, mut out) = (Vec::new(), Vec::new());
    let echoed = codec.echo(body, &mut echo_scratch, &mut out);
    let array = match codec.decode(body, &mut scratch) {
        Ok(array) => array,
        Err(error) => return assert_eq!(echoed.err(), Some(error)),
    };
    let message = match codec::message(codec, &array) {
        Ok(message) => message,
        // The number overflowed the dtype. serde_json does not write infinity, which JSON cannot
        // express.
        Err(error) => {
            let is_that = matches!(error, CodecError::Unsupported { encoding: "json:serde", .. });
            assert!(is_that, "{}: {error}", codec.name());
            return assert_eq!(echoed.err(), Some(error));
        }
    };
    let echoed = echoed.expect("what was read and written can be echoed");
    let (head, tail) = out.split_at(echoed.head_len);
    assert!([head, echoed.payload, tail].concat() == message, "{}", codec.name());
    let mut again = Vec::new();
    assert_eq!(codec.decode(&message, &mut again), Ok(array), "{}", codec.name());
}

fn excuse(who: Refuses, encoding: Encoding, body: &[u8], error: &CodecError) -> &'static str {
    let text = error.to_string();
    let is_it = |line: &&Exception| {
        line.who == who
            && line.encoding == encoding
            && text.contains(line.says)
            && (line.body.is_empty() || body.windows(line.body.len()).any(|part| part == line.body))
    };
    let line = EXCEPTIONS.iter().find(is_it);
    line.unwrap_or_else(|| panic!("{who:?} refuses alone: {text}")).reason
}
