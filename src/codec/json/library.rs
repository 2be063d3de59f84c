//! Own and library form of the list read the same and refuse the same, but for a listed few.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::Json;
use super::agree::lists;
use crate::codec::json_serde::JsonSerde;
use crate::codec::{Codec, CodecError};

/// What the library form refuses and we accept, by what it says: Python reads and writes them.
const LIBRARY_REFUSES: [(&str, &str); 3] = [
    ("number out of range", "1e400 is an infinity, as in Python"),
    ("expected value", "NaN and Infinity are words of Python's, also where a member is skipped"),
    ("no integer, or one out of range", "-0 is an integer"),
];

/// What we refuse and the library form accepts.
const OWN_REFUSES: [(&str, &str); 1] =
    [("values nest deeper than 64", "a skipped member may be 127 deep in serde_json")];

/// Own and library form read the same, or both refuse, but for what is listed above.
fn agree_with_the_library(body: &[u8]) -> Result<(), TestCaseError> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (own, library) = (Json.decode(body, &mut ours), JsonSerde.decode(body, &mut theirs));
    let is_listed = |list: &[(&str, &str)], error: &CodecError| {
        list.iter().any(|(words, _)| error.to_string().contains(words))
    };
    match (own, library) {
        (Ok(own), Ok(library)) => {
            prop_assert_eq!((own.dtype(), own.shape()), (library.dtype(), library.shape()));
            // Python's -0 is +0.0, serde_json's is -0.0.
            let size = own.dtype().item_size();
            for (own, library) in own.data().chunks(size).zip(library.data().chunks(size)) {
                let is_zero = own.iter().all(|byte| *byte == 0);
                let without_sign = library.iter().all(|byte| byte & 0x7f == 0);
                prop_assert!(own == library || is_zero && without_sign, "{:?} {:?}", own, library);
            }
        }
        (Ok(_), Err(error)) => prop_assert!(is_listed(&LIBRARY_REFUSES, &error), "{}", error),
        (Err(error), Ok(_)) => prop_assert!(is_listed(&OWN_REFUSES, &error), "{}", error),
        (Err(_), Err(_)) => {}
    }
    Ok(())
}

#[test]
fn what_only_one_form_accepts_is_listed() {
    let of = |data: &str, dtype: &str| format!(r#"{{"data": {data}, "dtype": "{dtype}"}}"#);
    let deep = "[".repeat(70) + &"]".repeat(70);
    for body in [
        of("[NaN, -Infinity]", "<f8"),
        of("[1e400]", "<f8"),
        of("[-0]", "<i8"),
        format!(r#"{{"x": NaN, {}"#, &of("[1]", "<f8")[1..]),
        format!(r#"{{"x": {deep}, {}"#, &of("[1]", "<f8")[1..]),
    ] {
        agree_with_the_library(body.as_bytes()).unwrap();
        let own = Json.decode(body.as_bytes(), &mut Vec::new()).is_ok();
        let library = JsonSerde.decode(body.as_bytes(), &mut Vec::new()).is_ok();
        assert_ne!(own, library, "{body}");
    }
}

proptest! {
    #[test]
    fn own_and_library_form_agree(
        list in lists(),
        damage in vec((any::<Index>(), select(b" ,[]-.0e9aN\"{}:\\\xff".to_vec())), 0..3),
        name in select(vec!["<f8", ">f8", "<f4", "<i8", ">i4", "|u1", "|b1"]),
        first in any::<bool>(),
    ) {
        let (data, dtype) = (format!("\"data\": {list}"), format!("\"dtype\": \"{name}\""));
        let [left, right] = if first { [data, dtype] } else { [dtype, data] };
        let mut body = format!("{{{left}, {right}}}").into_bytes();
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        agree_with_the_library(&body)?;
    }
}
