//! All instruction sets read and write lists like the portable code, within the message.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::array::{ArrayView, DType, NdArray, Order, Shape};
use crate::codec::json::error::Fault;
use crate::codec::json::{read, write};
use crate::codec::simd::Isa;
use crate::codec::simd::tests::guard_pages;

type Read = Result<(Vec<u64>, Vec<u8>), Fault>;

fn read(isa: Isa, text: &[u8], at: usize, dtype: DType) -> Read {
    let mut out = b"old".to_vec();
    let shape = read::list(isa, text, at, dtype, &mut out)?;
    Ok((shape.dims().to_vec(), out))
}

fn assert_read_alike(text: &[u8], at: usize, dtype: DType) {
    _ = read_alike(text, at, dtype);
}

fn read_alike(text: &[u8], at: usize, dtype: DType) -> Read {
    let want = read(Isa::Portable, text, at, dtype);
    for isa in Isa::all() {
        guard_pages::with_bytes(text, |text| {
            let got = read(isa, text, at, dtype);
            assert_eq!(got, want, "{isa:?}, {dtype}: {}", String::from_utf8_lossy(text));
        });
    }
    want
}

fn dtype(name: &str) -> DType {
    DType::parse(name).unwrap()
}

fn doubles(values: &[f64]) -> NdArray {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    NdArray::new(DType::F8, Shape::new(&[values.len() as u64]).unwrap(), bytes).unwrap()
}

fn write_alike(array: &ArrayView<'_>) -> Vec<u8> {
    let mut want = b"before".to_vec();
    write::list(Isa::Portable, array, &mut want).unwrap();
    for isa in Isa::all() {
        let mut got = b"before".to_vec();
        write::list(isa, array, &mut got).unwrap();
        assert!(
            got == want,
            "{isa:?}, {}\n{}\n{}",
            array.dtype(),
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(&want)
        );
    }
    want.split_off("before".len())
}

fn among_others(item: &str, before: usize) -> String {
    let others = ["0", "12.5", "-3", "1e-7", "123456789.125"];
    let mut items: Vec<&str> = others.iter().cycle().take(40).copied().collect();
    items.insert(before, item);
    format!("[{}]", items.join(", "))
}

#[test]
fn items_are_read_and_refused_alike() {
    let short = [
        "0", "-0", "0.0", "-0.0", "1", "-1", "10", "100.0", "0.5", "-0.5", "1.5e3", "1E+5",
        "1e-400", "1e400", "5e-324", "NaN", "Infinity", "true", "false", "null", "\"1\"", "", "-",
        "+1", ".5", "1.", "1.e5", "01", "-01", "00", "0.", "-.5", "1..2", "1.2.3", "--1", "1-2",
        "1e", "1e+", "e5", "0x10", "1_0", "1 2", "[1]", "]", "[", "1]", "1,", ",", "1,,2", "NaNN",
        "nan", "-NaN", "\u{661}", "1\u{0}", "\u{b}1", "300", "-129",
    ];
    let long = [
        "12345678901234567890",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999",
        "-9223372036854775808",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "0.30000000000000004",
        "0.1234567890123456789012345678",
        "1234567890123456.7890123456789",
        "12345678901234567890123456789012",
        "123456789012345678901234567890123",
        "0.00000000000000000000000000001",
        "9007199254740993",
        "9007199254740992.5",
        "9007199254740993.0",
        "4503599627370497.5",
        "4503599627370496.5",
        "1.00000000000000011102230246251565",
        "2.2250738585072014e-308",
        "1.7976931348623157e308",
        "-Infinity",
        "1\t,\r\n2",
    ];
    for item in short.into_iter().chain(long) {
        for before in [0, 1, 7, 8, 39, 40] {
            for dtype in ["<f8", ">f8", "<f4", "<f2", "<i8", ">i8", "|i1", "<u4", "<u8"].map(dtype)
            {
                let text = among_others(item, before);
                assert_read_alike(text.as_bytes(), 0, dtype);
                let framed = format!("{{\"data\": {text}");
                assert_read_alike(framed.as_bytes(), "{\"data\": ".len(), dtype);
            }
        }
    }
}

#[test]
fn a_list_may_be_of_any_length() {
    for len in (0..200).chain([255, 256, 257, 300, 1000]) {
        for comma in [",", ", ", " , ", ",\n        "] {
            let items = vec!["0.123"; len].join(comma);
            let text = format!("[{items}]");
            let (dims, bytes) = read_alike(text.as_bytes(), 0, DType::F8).unwrap();
            assert_eq!((dims, bytes.len()), (vec![len as u64], 8 * len));
            assert_read_alike(&text.as_bytes()[..text.len() - 1], 0, DType::F8);
            let long = format!("[{}, {items}]", "1".repeat(len));
            assert_read_alike(long.as_bytes(), 0, DType::F8);
        }
    }
}

#[test]
fn rows_are_counted_alike() {
    let row = |items: usize| format!("[{}]", vec!["1.5"; items].join(", "));
    for items in [1, 2, 7, 8, 9, 70] {
        for join in ["], [", "],[", " ] , [ ", "],\n ["] {
            let rows = format!("[[{}]]", vec![vec!["22"; items].join(","); 20].join(join));
            assert_eq!(read_alike(rows.as_bytes(), 0, DType::F8).unwrap().0, [20, items as u64]);
            let cube = format!("[{rows}, {rows}]");
            assert_eq!(read_alike(cube.as_bytes(), 0, DType::F8).unwrap().0, [2, 20, items as u64]);
        }
        for other in [items - 1, items + 1] {
            let rows = [row(items), row(items), row(other), row(items)].join(", ");
            assert!(read_alike(format!("[{rows}, {rows}]").as_bytes(), 0, DType::F8).is_err());
            let rows = [row(items), row(items)].join(", ");
            assert!(
                read_alike(
                    format!("[[{rows}], [{rows}, {}]]", row(items)).as_bytes(),
                    0,
                    DType::F8
                )
                .is_err()
            );
            assert!(read_alike(format!("[[{rows}], {rows}]").as_bytes(), 0, DType::F8).is_err());
        }
    }
}

fn corners() -> Vec<f64> {
    let mut values = Vec::new();
    for exponent in 0..0x7ff_u64 {
        for fraction in [0, 1, 2, (1 << 52) - 1, 0x5_5555_5555_5555] {
            values.push(f64::from_bits(exponent << 52 | fraction));
        }
    }
    for power in -8..20 {
        let ten = 10f64.powi(power);
        for factor in [1.0, 1.5, 2.0, 9.0, 9.5, 9.999, 1.0 / 3.0] {
            let value = ten * factor;
            values.extend([value.next_down(), value, value.next_up()]);
        }
    }
    values.extend((0..2000).map(|n| f64::from(n) / 100.0));
    values.extend([0.0, f64::NAN, f64::INFINITY, 9007199254740993.0, 123456789012345680.0]);
    let negative: Vec<f64> = values.iter().map(|value| -value).collect();
    values.extend(negative);
    values
}

#[test]
fn corners_are_written_alike_and_read_back() {
    let corners = corners();
    for values in [&corners[..], &corners[3..]] {
        let text = write_alike(&doubles(values).view());
        let (_, bytes) = read_alike(&text, 0, DType::F8).unwrap();
        for (value, item) in values.iter().zip(bytes.as_chunks().0) {
            let got = f64::from_le_bytes(*item);
            assert!(
                got.to_bits() == value.to_bits() || got.is_nan() && value.is_nan(),
                "{value:e}"
            );
        }
    }
    for value in corners.iter().step_by(7) {
        let (small, whole) = ([*value; 4], [0.25, 1.0, *value, 100.0, -0.0, 3.5, 1e15, 0.1, 2.0]);
        write_alike(&doubles(&small).view());
        write_alike(&doubles(&whole).view());
    }
}

#[test]
fn rows_of_any_length_are_written_alike_and_read_back() {
    let corners = corners();
    let widths = [1, 2, 3, 4, 5, 7, 8, 9, 31, 63, 64, 65, 130];
    for width in widths {
        for outer in [&[1][..], &[2], &[9], &[70], &[3, 4], &[2, 1, 3]] {
            let dims = [outer, &[width]].concat();
            let shape = Shape::new(&dims).unwrap();
            let mut array = NdArray::seeded(DType::F8, shape, width).unwrap();
            // Numbers for the slow path at places that drift over all lanes and rows.
            for (at, item) in array.data_mut().as_chunks_mut::<8>().0.iter_mut().enumerate() {
                if at % 23 == 7 || at % 29 < 2 {
                    *item = corners[at % corners.len()].to_le_bytes();
                }
            }
            let text = write_alike(&array.view());
            let (read_dims, bytes) = read_alike(&text, 0, DType::F8).unwrap();
            assert_eq!(read_dims, dims);
            let same = |(a, b): (&[u8; 8], &[u8; 8])| {
                a == b || f64::from_le_bytes(*a).is_nan() && f64::from_le_bytes(*b).is_nan()
            };
            let data = array.view().data().as_chunks().0;
            assert!(bytes.as_chunks().0.iter().zip(data).all(same), "{dims:?}");
        }
    }
    assert_eq!(
        write_alike(
            &NdArray::seeded(DType::F8, Shape::new(&[2, 3, 0]).unwrap(), 1).unwrap().view()
        ),
        b"[[[], [], []], [[], [], []]]"
    );
}

fn whole_corners() -> Vec<u64> {
    let tens = (0..20).map(|power| 10u64.pow(power));
    let twos = (0..64).map(|power| 1 << power);
    let mut values = vec![0, u64::MAX, 1844 * 10_u64.pow(16), 1844 * 10_u64.pow(16) - 1];
    for value in tens.chain(twos) {
        let around = [value - 1, value, value + 1, value / 7 * 5, value / 3];
        values.extend(around.into_iter().flat_map(|value| [value, value.wrapping_neg()]));
    }
    values
}

#[test]
fn integers_are_written_alike_and_read_back() {
    let corners = whole_corners();
    for name in ["|i1", "|u1", "<i2", "<u4", "<i8", "<u8", ">i8"].map(dtype) {
        let size = name.item_size();
        let little = name.order() != Order::Big;
        let item = |value: &u64| {
            let bytes = if little { value.to_le_bytes() } else { value.to_be_bytes() };
            if little { bytes[..size].to_vec() } else { bytes[8 - size..].to_vec() }
        };
        // All at once, and those of one width by themselves, so that slots of each width are used.
        let narrow =
            |below: u64| move |value: &&u64| **value < below || value.wrapping_neg() < below;
        for below in [100_000, 10_000_000_000_000, u64::MAX] {
            let values: Vec<u64> = corners.iter().filter(narrow(below)).copied().collect();
            for start in 0..8 {
                let data: Vec<u8> = values[start..].iter().flat_map(item).collect();
                let shape = Shape::new(&[(values.len() - start) as u64]).unwrap();
                let array = NdArray::new(name, shape, data).unwrap();
                let text = write_alike(&array.view());
                let (_, bytes) = read_alike(&text, 0, name).unwrap();
                assert_eq!(bytes, array.view().data());
            }
        }
    }
}

fn lists() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        4 => any::<f64>().prop_map(|value| format!("{value:?}")),
        4 => (0.0..1.0).prop_map(|value: f64| format!("{value:?}")),
        2 => any::<i64>().prop_map(|value| value.to_string()),
        2 => (-1000i64..1000).prop_map(|value| value.to_string()),
        1 => "-?[0-9]{1,25}(\\.[0-9]{1,25})?([eE][-+]?[0-9]{1,3})?",
    ];
    let separator = select(vec![", ", ",", ", ", "], [", "],[", " , ", "]], [["]);
    (vec((item, separator), 1..80), 0..3usize).prop_map(|(items, depth)| {
        let mut text = "[".repeat(depth);
        for (item, separator) in items {
            text += &item;
            text += separator;
        }
        text.truncate(
            text.rfind(|c: char| c.is_ascii_digit() || c == 'f' || c == 'N').map_or(0, |at| at + 1),
        );
        text + &"]".repeat(depth)
    })
}

proptest! {
    #[test]
    fn any_list_is_read_or_refused_alike(
        list in lists(),
        name in select(vec!["<f8", ">f8", "<f4", "<i8", ">i8", "<i4", "|u1"]),
    ) {
        assert_read_alike(list.as_bytes(), 0, dtype(name));
    }

    #[test]
    fn a_damaged_list_is_read_or_refused_alike(
        list in lists(),
        damage in vec((any::<Index>(), select(b" ,[]-.0e9aN\xff".to_vec())), 1..3),
        name in select(vec!["<f8", "<i8", "|u1"]),
    ) {
        let mut list = list.into_bytes();
        for (at, byte) in damage {
            let at = at.index(list.len());
            list[at] = byte;
        }
        assert_read_alike(&list, 0, dtype(name));
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_array_is_written_alike_and_read_back(
        bits in vec(prop_oneof![any::<f64>(), 0.0..1.0, -1e16..1e16], 1..200),
        seed in any::<u64>(),
        columns in 1..20u64,
    ) {
        let array = doubles(&bits);
        let text = write_alike(&array.view());
        let (_, bytes) = read_alike(&text, 0, DType::F8).unwrap();
        prop_assert_eq!(bytes, array.view().data());
        for dtype in DType::all().filter(|dtype| dtype.kind() != crate::array::Kind::Complex) {
            let array = NdArray::seeded(dtype, Shape::new(&[13, columns]).unwrap(), seed).unwrap();
            let text = write_alike(&array.view());
            let (dims, bytes) = read_alike(&text, 0, dtype).unwrap();
            prop_assert_eq!(dims, [13, columns]);
            prop_assert_eq!(bytes, array.view().data());
        }
    }
}
