//! Agreement of codecs: the own form and each library form of an encoding accept the same bodies
//! and read the same arrays from them. An accepted body can be written and read again.
//! [`EXCEPTIONS`] lists the differences and their reasons.

use ndecho::array::ArrayView;
use ndecho::axis::Codec;
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
    /// The only library with this difference; `None` for all of the encoding.
    library: Option<Codec>,
    /// Part of the text of the refusal.
    says: &'static str,
    /// Part of every such body.
    body: &'static [u8],
    reason: &'static str,
}

const fn own(encoding: Encoding, says: &'static str, reason: &'static str) -> Exception {
    Exception { who: Refuses::Own, encoding, library: None, says, body: b"", reason }
}

const fn library(
    encoding: Encoding,
    says: &'static str,
    body: &'static [u8],
    reason: &'static str,
) -> Exception {
    Exception { who: Refuses::Library, encoding, library: None, says, body, reason }
}

/// Difference of one library.
const fn only(library: Codec, exception: Exception) -> Exception {
    Exception { library: Some(library), ..exception }
}

const ARRAY: &str = "a derived struct is also read from an array of its fields in order";
const NULL: &str =
    "to serde a null member is none; a message with both forms is a sender's mistake";
const PYTHON: &str =
    "RFC 8259 has no such word; Python's json writes and reads it, and skipping it does no harm";
const INFINITY: &str = "1e400 is an infinity, as in Python";
const UNSEEN: &str =
    "serde_json does not look into strings that it skips; we read JSON or refuse it";
const NUMBERED: &str =
    "to a derived struct an integer key is the number of a field; msgpack_numpy has none such";
const LIST_OF_BYTES: &str =
    "rmp-serde takes a list of integers for bytes; msgpack_numpy never writes one";
const LAST_OF_TWO: &str =
    "the crate looks only at the last of two tensors with the same name, which hides a mistake";
const OTHER_WIRE: &str = "to Google's implementations and to ours, a known number of another wire \
                          type is an unknown field";

const EXCEPTIONS: &[Exception] = &[
    own(Encoding::Json, "expected an object", ARRAY),
    own(
        Encoding::Json,
        "values nest deeper than 64",
        "no message needs more; serde_json's own limit is 128",
    ),
    own(Encoding::Json, "\"buffer\": not allowed together with data", NULL),
    own(Encoding::Json, "not UTF-8", UNSEEN),
    own(Encoding::Json, "an unpaired surrogate", UNSEEN),
    library(Encoding::Json, "expected value", b"NaN", PYTHON),
    library(Encoding::Json, "expected value", b"Infinity", PYTHON),
    library(Encoding::Json, "invalid number", b"-Infinity", PYTHON),
    library(Encoding::Json, "number out of range", b"", INFINITY),
    only(Codec::JsonSonic, library(Encoding::Json, "Invalid JSON value", b"NaN", PYTHON)),
    only(Codec::JsonSonic, library(Encoding::Json, "Invalid JSON value", b"Infinity", PYTHON)),
    only(Codec::JsonSonic, library(Encoding::Json, "Invalid number", b"-Infinity", PYTHON)),
    only(Codec::JsonSonic, library(Encoding::Json, "must be finite", b"", INFINITY)),
    only(
        Codec::JsonSonic,
        library(
            Encoding::Json,
            "unknown field",
            b"",
            "sonic-rs skips unknown members by recursion without a limit, so this form takes none",
        ),
    ),
    only(Codec::JsonSimd, library(Encoding::Json, "InternalError", b"NaN", PYTHON)),
    only(Codec::JsonSimd, library(Encoding::Json, "InternalError", b"Infinity", PYTHON)),
    only(Codec::JsonSimd, library(Encoding::Json, "InvalidNumber", b"-Infinity", PYTHON)),
    only(
        Codec::JsonSimd,
        library(
            Encoding::Json,
            "InvalidNumber",
            b"",
            "simd-json has no infinity, also in skipped members",
        ),
    ),
    library(
        Encoding::Json,
        "not an integer, or out of range",
        b"",
        "a library has a double, which may have been rounded from 2^53; we read the decimal",
    ),
    own(
        Encoding::Json,
        "a fraction in an array of ",
        "a library reads a double and does not see digits beyond its precision",
    ),
    own(Encoding::JsonBinary, "expected an object", ARRAY),
    own(Encoding::JsonBinary, "not allowed together with buffer", NULL),
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
    own(Encoding::Msgpack, "expected bin or str", LIST_OF_BYTES),
    own(Encoding::Msgpack, "expected bin, str or nil", LIST_OF_BYTES),
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
    own(
        Encoding::Cbor,
        "an indefinite length",
        "ciborium joins the pieces; nobody who has an array in memory sends it so",
    ),
    own(
        Encoding::Cbor,
        "expected a dimension",
        "ciborium reads a bignum as an integer; no dimension needs one",
    ),
    own(
        Encoding::Safetensors,
        "given twice",
        "the crate keeps one of two tensors or texts with the same name, which hides a mistake",
    ),
    own(
        Encoding::Safetensors,
        "an unknown member",
        "the crate skips it; the format has three members",
    ),
    own(
        Encoding::Safetensors,
        "the header is longer than 64 KiB",
        "the crate takes 100 MB, for files with thousands of tensors",
    ),
    own(Encoding::Safetensors, "is not supported", LAST_OF_TWO),
    own(Encoding::Safetensors, "dimensions, at most 64", LAST_OF_TWO),
    own(Encoding::Safetensors, "expected an object", ARRAY),
    own(
        Encoding::Safetensors,
        "\"dtype\": expected a string",
        "to serde a name may also be an object with that one member",
    ),
    library(
        Encoding::ProtobufPacked,
        "recursion limit reached",
        b"",
        "prost counts the message of a list as one of the hundred open groups",
    ),
    library(Encoding::ProtobufPacked, "invalid wire type", b"", OTHER_WIRE),
    library(
        Encoding::ProtobufPacked,
        "invalid varint",
        b"",
        "we do not read the numbers of a list that another one replaces",
    ),
    library(Encoding::Protobuf, "invalid wire type", b"", OTHER_WIRE),
    library(
        Encoding::Protobuf,
        "recursion limit reached",
        b"",
        "prost counts a value in the hundredth open group as one more",
    ),
    library(
        Encoding::Kserve,
        "recursion limit reached",
        b"",
        "prost counts a tensor as one of the hundred open groups",
    ),
    library(
        Encoding::KserveTyped,
        "recursion limit reached",
        b"",
        "prost counts a tensor and its contents as two of the hundred open groups",
    ),
    own(Encoding::KserveHttp, "expected an object", ARRAY),
    own(Encoding::KserveHttp, "cannot carry a tensor as data", NULL),
    own(
        Encoding::KserveHttp,
        "values nest deeper than 64",
        "no message needs more; serde_json's own limit is 128",
    ),
    own(Encoding::KserveHttp, "not UTF-8", UNSEEN),
    own(Encoding::KserveHttp, "an unpaired surrogate", UNSEEN),
    library(Encoding::KserveHttp, "expected value", b"NaN", PYTHON),
    library(Encoding::KserveHttp, "expected value", b"Infinity", PYTHON),
    library(Encoding::KserveHttp, "invalid number", b"-Infinity", PYTHON),
];

/// Panics if the forms do not agree on `body`. Returns the reason if only one form refuses it.
pub(crate) fn hold(encoding: Encoding, body: &[u8]) -> Option<&'static str> {
    let forms = || implementations().filter(|codec| codec.encoding() == encoding);
    forms().for_each(|codec| again(codec, body));
    let own = forms().next()?;
    let reasons = forms().skip(1).map(|library| agree(own, library, body));
    reasons.fold(None, |first, reason| first.or(reason))
}

fn agree(own: &dyn ArrayCodec, library: &dyn ArrayCodec, body: &[u8]) -> Option<&'static str> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    match (own.decode(body, &mut ours), library.decode(body, &mut theirs)) {
        (Ok(ours), Ok(theirs)) => {
            assert_same(library, &ours, &theirs);
            None
        }
        (Err(error), Ok(_)) => Some(excuse(Refuses::Own, library.id(), body, &error)),
        (Ok(_), Err(error)) => Some(excuse(Refuses::Library, library.id(), body, &error)),
        (Err(_), Err(_)) => None,
    }
}

/// Compares two readings. `-0` in a list is +0.0 to Python and to our codec, but -0.0 to
/// serde_json. To sonic-rs, `-0.0` is +0.0, too.
pub(crate) fn assert_same(library: &dyn ArrayCodec, ours: &ArrayView<'_>, theirs: &ArrayView<'_>) {
    if library.encoding() != Encoding::Json {
        return assert_eq!(ours, theirs, "{}", library.name());
    }
    let kinds = [(ours.dtype(), ours.shape()), (theirs.dtype(), theirs.shape())];
    assert_eq!(kinds[0], kinds[1], "{}", library.name());
    let (size, has_one_zero) = (ours.dtype().item_size(), library.id() == Codec::JsonSonic);
    for (ours, theirs) in ours.data().chunks(size).zip(theirs.data().chunks(size)) {
        let is_zero = |item: &[u8]| item.iter().all(|byte| *byte == 0);
        let is_zero_but_for_its_sign = |item: &[u8]| item.iter().all(|byte| byte & 0x7f == 0);
        let is_same = ours == theirs
            || is_zero(ours) && is_zero_but_for_its_sign(theirs)
            || has_one_zero && is_zero_but_for_its_sign(ours) && is_zero(theirs);
        assert!(is_same, "{} {ours:?} {theirs:?}", library.name());
    }
}

/// Checks that `codec` writes and reads an accepted array without a change, also in an echo.
fn again(codec: &dyn ArrayCodec, body: &[u8]) {
    let mut scratch = Vec::new();
    let (mut echo_scratch, mut out) = (Vec::new(), Vec::new());
    let echoed = codec.echo(body, &mut echo_scratch, &mut out);
    if let Some(owning_echo) = codec.owning_echo() {
        let mut owned = Vec::new();
        let written = owning_echo(body.to_vec().into(), &mut owned);
        assert_eq!(written.as_ref().err(), echoed.as_ref().err(), "{}", codec.name());
        assert!(written.is_err() || owned == out, "{}", codec.name());
    }
    let array = match codec.decode(body, &mut scratch) {
        Ok(array) => array,
        Err(error) => return assert_eq!(echoed.err(), Some(error)),
    };
    let reply = match codec::reply(codec, &array) {
        Ok(reply) => reply,
        // The number overflowed the dtype. Libraries do not write infinity, which JSON cannot
        // express.
        Err(error) => {
            let is_that = matches!(error, CodecError::Unsupported { .. });
            let is_library = codec.encoding() == Encoding::Json && !codec.id().is_own();
            assert!(is_that && is_library, "{}: {error}", codec.name());
            return assert_eq!(echoed.err(), Some(error));
        }
    };
    let echoed = echoed.expect("what was read and written can be echoed");
    let (head, tail) = out.split_at(echoed.head_len);
    let echoed = [head, echoed.payload, tail].concat();
    let mut scratch = Vec::new();
    // Then only the array must be the same.
    let is_same = echoed == reply
        || repeats_more(codec.encoding())
            && codec.decode_reply(&echoed, &mut scratch).as_ref() == Ok(&array);
    assert!(is_same, "{}", codec.name());
    let mut again = Vec::new();
    let read = codec.decode_reply(&reply, &mut again).expect("what was written is read");
    assert_same(codec, &array, &read);
    let request = codec::message(codec, &array).expect("a reply was written");
    let read = codec.decode(&request, &mut again).expect("what was written is read");
    assert_same(codec, &array, &read);
}

/// An echo of msgpack has the request's kind of keys, and one of an inference the request's id.
fn repeats_more(encoding: Encoding) -> bool {
    matches!(
        encoding,
        Encoding::Msgpack | Encoding::Kserve | Encoding::KserveTyped | Encoding::KserveHttp
    )
}

fn excuse(who: Refuses, library: Codec, body: &[u8], error: &CodecError) -> &'static str {
    let text = error.to_string();
    let is_it = |line: &&Exception| {
        line.who == who
            && line.encoding == library.encoding()
            && line.library.is_none_or(|only| only == library)
            && text.contains(line.says)
            && (line.body.is_empty() || body.windows(line.body.len()).any(|part| part == line.body))
    };
    let line = EXCEPTIONS.iter().find(is_it);
    let alone = || panic!("{who:?} refuses alone ({library}): {text}: {}", body.escape_ascii());
    line.unwrap_or_else(alone).reason
}
