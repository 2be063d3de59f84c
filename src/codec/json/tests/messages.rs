//! Messages that are read, written and refused, one case at a time.

use crate::array::Shape;
use crate::codec::json::*;

fn decode(body: &str) -> Result<(String, Vec<u64>, Vec<u8>), String> {
    crate::codec::tests::decode(&Json, body.as_bytes())
}

fn message(data: &str, dtype: &str) -> String {
    format!(r#"{{"data": {data}, "dtype": "{dtype}"}}"#)
}

fn doubles(data: &str) -> Result<(Vec<u64>, Vec<f64>), String> {
    let (_, dims, bytes) = decode(&message(data, "<f8"))?;
    Ok((dims, bytes.as_chunks().0.iter().map(|item| f64::from_le_bytes(*item)).collect()))
}

#[test]
fn members_come_in_any_order_and_spelling() {
    for body in [
        r#"{"data": [7, 8], "dtype": "|u1"}"#,
        r#"{"dtype":"|u1","data":[7,8]}"#,
        " {\t\"data\" : [ 7 ,\n8 ] , \"x\": \"}\\\"\", \"dtype\" : \"|u1\" }\r\n",
        r#"{"x": {"data": [1, {"a": []}], "y": {}}, "d\u0061ta": [7, 8], "dtype": "\u007cu1"}"#,
        r#"{"x": [NaN, -Infinity, true, false, null, -0.5e+10], "data": [7, 8], "dtype": "|u1"}"#,
        r#"{"x": "\ud83d\ude00\b\f\n\r\t\/\\", "data": [7, 8] , "dtype": "|u1"}"#,
    ] {
        assert_eq!(decode(body), Ok(("|u1".to_owned(), vec![2], vec![7, 8])), "{body}");
    }
}

#[test]
fn the_form_is_told_by_the_first_telling_name() {
    use Encoding::{Json, JsonBinary};
    for (body, want) in [
        (r#"{"data": []"#, Ok(Json)),
        (r#"{"buffer": ""}"#, Ok(JsonBinary)),
        (r#"{"dtype": "data", "shape": [1], "buffer""#, Err(())),
        (r#"{"dtype": "data", "shape": [1], "buffer":"#, Ok(JsonBinary)),
        (r#"{"x": {"buffer": 1}, "data": 1}"#, Ok(Json)),
        (r#"{"\u0064ata": 1}"#, Ok(Json)),
        (r#"{"dtype": "<f8"}"#, Err(())),
        ("{}", Err(())),
        ("", Err(())),
        ("[]", Err(())),
    ] {
        assert_eq!(form(body.as_bytes()).map_err(|_| ()), want, "{body}");
    }
}

#[test]
fn lists_have_the_shape_that_numpy_gives_them() {
    let cases: [(&str, &[u64]); 8] = [
        ("1", &[]),
        ("[]", &[0]),
        ("[1]", &[1]),
        ("[[],[]]", &[2, 0]),
        ("[[[]],[[]]]", &[2, 1, 0]),
        ("[[1,2,3],[4,5,6]]", &[2, 3]),
        ("[[[1],[2]],[[3],[4]],[[5],[6]]]", &[3, 2, 1]),
        (" [ [ 1 , 2 ] , [ 3 , 4 ] ] ", &[2, 2]),
    ];
    for (data, dims) in cases {
        assert_eq!(doubles(data).map(|(dims, _)| dims), Ok(dims.to_vec()), "{data}");
    }
    let deep = "[".repeat(64) + "1" + &"]".repeat(64);
    assert_eq!(doubles(&deep).unwrap().0, [1; 64]);
}

#[test]
fn floats_are_exact() {
    let values = |data: &str| doubles(data).unwrap().1;
    let got = values("[0.1, -0.0, -0, 5e-324, 1.7976931348623157e308, 1e400, -1E+400, 1e-400]");
    let want = [0.1, -0.0, 0.0, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, 0.0];
    assert_eq!(bits(&got), bits(&want));
    let got =
        values("[NaN, Infinity, -Infinity, 9007199254740993, 123456789012345678901234567890]");
    let want =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 9007199254740992.0, 1.2345678901234568e29];
    assert_eq!(bits(&got), bits(&want));
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn narrow_floats_round_twice_as_numpy_does() {
    // Rounded directly to f4 this is 1 + 2^-23; by way of a double it is a tie, and goes to even.
    let text = "1.00000005960464477539062500000000001";
    let (_, _, bytes) = decode(&message(text, "<f4")).unwrap();
    assert_eq!(f32::from_le_bytes(bytes.try_into().unwrap()), 1.0);
    let (_, _, bytes) = decode(&message("[65504, 65520.0, 1e10, 0.1]", ">f2")).unwrap();
    assert_eq!(bytes, [0x7b, 0xff, 0x7c, 0x00, 0x7c, 0x00, 0x2e, 0x66]);
}

#[test]
fn integers_are_exact_up_to_their_bounds() {
    for (dtype, least, most) in [
        ("|i1", "-128", "127"),
        ("|u1", "0", "255"),
        ("<i2", "-32768", "32767"),
        (">u2", "0", "65535"),
        (">i4", "-2147483648", "2147483647"),
        ("<u4", "0", "4294967295"),
        ("<i8", "-9223372036854775808", "9223372036854775807"),
        (">u8", "0", "18446744073709551615"),
    ] {
        let body = message(&format!("[{least}, {most}, -0]"), dtype);
        let mut scratch = Vec::new();
        let array = Json.decode(body.as_bytes(), &mut scratch).unwrap();
        let mut out = Vec::new();
        Json.encode(&array, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), body.replace("-0]", "0]"));
        let beyond = |text: &str| {
            let digits = text.trim_start_matches('-');
            let next = digits.parse::<u128>().unwrap() + 1;
            if least == text { format!("-{next}") } else { next.to_string() }
        };
        for text in [beyond(least), beyond(most), "1".repeat(1000)] {
            let error = decode(&message(&text, dtype)).unwrap_err();
            assert!(error.contains("out of range"), "{dtype} {text}: {error}");
        }
    }
}

#[test]
fn shapes_that_a_list_cannot_carry_are_refused() {
    let empty = |dims: &[u64]| {
        let shape = Shape::new(dims).unwrap();
        let array = ArrayView::new(DType::F8, shape, &[]).unwrap();
        let mut out = Vec::new();
        Json.encode(&array, &mut out).map(|_| String::from_utf8(out).unwrap())
    };
    assert_eq!(empty(&[0]).unwrap(), r#"{"data": [], "dtype": "<f8"}"#);
    assert_eq!(empty(&[2, 0]).unwrap(), r#"{"data": [[], []], "dtype": "<f8"}"#);
    assert!(
        empty(&[0, 3])
            .unwrap_err()
            .to_string()
            .contains("a list loses all dimensions after the first 0")
    );
    assert!(
        empty(&[1 << 40, 0]).unwrap_err().to_string().contains("more than 1048576 empty lists")
    );
    let bools = ArrayView::new(DType::parse("|b1").unwrap(), Shape::default(), &[2]).unwrap();
    assert!(Json.encode(&bools, &mut Vec::new()).is_err());
}
