//! Doubles pass through a JSON list bit for bit, with the text that Python writes. The standard
//! library is the judge: its shortest digits in the form of Python's `repr`, and its parser.
//!
//! `cargo test --release --test json_floats -- --ignored` checks 10^8 doubles.
//! `tools/interop/json_floats.py` compares with Python itself.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use ndecho::array::{ArrayView, DType, Shape};
use ndecho::codec::{self, ArrayCodec as _, Level};
use rand::Rng;
use rand_pcg::Pcg64;

/// Doubles in one list.
const LIST: usize = 10_000;

const PREFIX: &str = "{\"data\": [";
const SUFFIX: &str = "], \"dtype\": \"<f8\"}";

/// Generators of doubles, by name.
type Draw = fn(&mut Pcg64) -> f64;
const SORTS: [(&str, Draw); 7] = [
    ("of any bits", any_bits),
    ("from 0 to 1", unit),
    ("around 0, of all sizes below 10^17", |rng| spread(rng, 10f64.powi(17))),
    ("around 0, of all sizes below 10^-3", |rng| spread(rng, 1e-3)),
    ("with two decimals", |rng| (rng.next_u64() % 2_000_000) as f64 / 100.0 - 10_000.0),
    ("widened from f4", |rng| f64::from(f32::from_bits(rng.next_u32() & 0xbfff_ffff))),
    ("whole", |rng| (rng.next_u64() >> (rng.next_u32() % 64)) as f64),
];

fn any_bits(rng: &mut Pcg64) -> f64 {
    let value = f64::from_bits(rng.next_u64());
    if value.is_finite() { value } else { any_bits(rng) }
}

fn unit(rng: &mut Pcg64) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

fn spread(rng: &mut Pcg64, most: f64) -> f64 {
    let scale = 2f64.powi(-((rng.next_u32() % 60) as i32));
    (2.0 * unit(rng) - 1.0) * scale * most
}

/// Formats `value` like Python's `repr`, with the digits of the standard library. The shortest form
/// gives their number. A second call with that number rounds half to even, where the shortest form
/// rounds up. Next to a power of two the result can be another double.
fn repr(value: f64, to: &mut String) {
    let start = to.len();
    write!(to, "{:e}", value.abs()).expect("a string takes any text");
    let needed = to[start..].bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit);
    let places = needed.count() - 1;
    let rounded = format!("{:.places$e}", value.abs());
    if rounded.parse() == Ok(value.abs()) {
        to.replace_range(start.., &rounded);
    }
    let (digits, exponent) = to[start..].split_once('e').expect("it was asked for");
    let digits = digits.replace('.', "");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    to.truncate(start);
    if value.is_sign_negative() {
        to.push('-');
    }
    let (first, more) = digits.split_at(1);
    if !(-4..16).contains(&exponent) {
        let point = if more.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(to, "{first}{point}{more}e{sign}{:02}", exponent.abs())
    } else if exponent < 0 {
        write!(to, "0.{}{digits}", "0".repeat((-1 - exponent) as usize))
    } else {
        let whole = exponent as usize + 1;
        let padded = format!("{digits:0<whole$}");
        let (whole, part) = padded.split_at(whole);
        write!(to, "{whole}.{}", if part.is_empty() { "0" } else { part })
    }
    .expect("a string takes any text");
}

/// Held while one test sets the level, which holds for all threads.
static LEVEL: Mutex<()> = Mutex::new(());

/// Writes a list and reads it back, with every level of instructions that the processor has. Reuses
/// the buffers of the previous list.
#[derive(Default)]
struct Trip {
    bytes: Vec<u8>,
    text: Vec<u8>,
    of_level: Vec<u8>,
    scratch: Vec<u8>,
    want: String,
}

impl Trip {
    fn go(&mut self, values: &[f64]) {
        let json = codec::json::Json;
        self.bytes.clear();
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let shape = Shape::new(&[values.len() as u64]).expect("one dimension");
        let array = ArrayView::new(DType::F8, shape, &self.bytes).expect("of their size");
        let _level = LEVEL.lock().unwrap_or_else(PoisonError::into_inner);
        Level::Portable.limit();
        self.text.clear();
        json.encode(&array, &mut self.text).expect("doubles are numbers");
        let text = str::from_utf8(&self.text).expect("JSON is UTF-8");
        let list = text.strip_prefix(PREFIX).and_then(|text| text.strip_suffix(SUFFIX));
        let mut items = list.expect("a list in its message").split(", ");
        for value in values {
            let item = items.next().expect("an item for each");
            self.want.clear();
            repr(*value, &mut self.want);
            assert_eq!(item, self.want, "{:#x}", value.to_bits());
            let parsed: f64 = item.parse().expect("a number");
            assert_eq!(parsed.to_bits(), value.to_bits(), "{item}");
        }
        assert_eq!(items.next(), None);

        for level in Level::all() {
            level.limit();
            self.of_level.clear();
            json.encode(&array, &mut self.of_level).expect("doubles are numbers");
            assert!(self.of_level == self.text, "{} writes another text", level.name());
            let got = json.decode(&self.text, &mut self.scratch).expect("our own message");
            for (got, value) in got.data().as_chunks().0.iter().zip(values) {
                assert_eq!(u64::from_le_bytes(*got), value.to_bits(), "{value:e}");
            }
            assert_eq!(got.data().len(), self.bytes.len());
        }
    }
}

fn draw_and_go(lists: u128) {
    let mut trip = Trip::default();
    for (name, draw) in SORTS {
        println!("{} doubles {name}", lists * LIST as u128);
        for seed in 0..lists {
            let mut rng = Pcg64::new(seed, name.len() as u128);
            let values: Vec<f64> = (0..LIST).map(|_| draw(&mut rng)).collect();
            trip.go(&values);
        }
    }
}

fn every_exponent(fractions: u32) {
    let mut trip = Trip::default();
    let mut rng = Pcg64::new(1, 2);
    for exponent in 0..0x7ff_u64 {
        let corners = [0, 1, (1 << 52) - 1];
        let drawn = (0..fractions).map(|_| rng.next_u64() >> 12);
        let bits = corners.into_iter().chain(drawn).map(|fraction| exponent << 52 | fraction);
        let values: Vec<f64> = bits.map(f64::from_bits).flat_map(|value| [value, -value]).collect();
        trip.go(&values);
    }
}

#[test]
fn doubles_survive_a_json_list() {
    draw_and_go(1);
}

#[test]
fn doubles_of_every_exponent_survive_a_json_list() {
    every_exponent(10);
}

#[test]
#[ignore = "10^8 doubles take minutes, and hours without --release"]
fn hundred_million_doubles_survive_a_json_list() {
    every_exponent(2_000);
    draw_and_go(100_000_000_u128.div_ceil(LIST as u128 * SORTS.len() as u128));
}
