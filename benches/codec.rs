//! Times the reading and writing of arrays, for every codec of the table.
//!
//! Criterion's groups are `decode`, `encode` and `echo` (both, as in a server), each
//! `group/codec/size` over arrays of random doubles; `floor/memcpy/size` is one copy of the same
//! bytes. Throughput counts the bytes of the array, not of the message. Buffers are reused as in a
//! server; an echo of a library whose message owns its payload gets a `Bytes`, as from a stack.
//! Results are checked before they are timed.
//!
//! The table after them compares own and library forms over kinds of numbers and sizes. `cargo
//! bench --bench codec` prints both, `cargo bench --bench codec -- table` only the table,
//! `CODEC_BENCH_LARGE=1` adds 256 MiB. Words after `table` pick from it: codecs, sizes, kinds of
//! numbers (`"f8 rows"`), and levels of the processor (`portable avx2 avx512`), each with lines of
//! its own. Own form, library form and one copy take turns within the same milliseconds, in CPU
//! time of the thread, so a busy machine disturbs them alike. Both forms use the system's
//! allocator; the library forms allocate their results, and with glibc a large buffer that comes
//! and goes costs a page fault for each 4 KiB.
//!
//! Our binary codecs return the payload where it lies, so `echo` does not contain the copy that the
//! kernel makes later. The column `in one piece` adds that copy, and divides by it.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use ndecho::array::{DType, NdArray, Shape};
use ndecho::codec::{self, ArrayCodec, Level, implementations};
use ndecho::service::codecs::CodecSet;
use ndecho::service::echo::{Echoed, echo, echo_shared};
use nix::time::{ClockId, clock_gettime};

const SIZES: [(&str, u64); 5] =
    [("8B", 8), ("2KiB", 2 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20), ("16MiB", 16 << 20)];

const BASELINE: &str = "\
codec: our reading and writing of arrays, compared with the usual libraries for each encoding and
with one copy of the bytes (floor/memcpy). Lines \"change\" compare with the run before: improved
(faster), regressed (slower) or no change (same).";

/// Takes minutes, and gigabytes as a JSON list.
const LARGE: (&str, u64) = ("256MiB", 256 << 20);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Cargo passes `--bench`; further arguments are a filter or another mode.
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--bench").collect();
    println!("{BASELINE}\n");
    if let Some((_, picked)) = args.split_first().filter(|(first, _)| **first == "table") {
        return print_table(picked);
    }
    criterion_groups();
    if args.is_empty() {
        print_table(&[]);
    }
}

fn criterion_groups() {
    // The table has the largest size; here it would take most of the time.
    let sizes = &SIZES[..4];
    let mut criterion = Criterion::default().configure_from_args().without_plots();
    for work in ["decode", "encode", "echo"] {
        let mut group = criterion.benchmark_group(work);
        for &(size, bytes) in sizes {
            configure(&mut group, bytes);
            for codec in implementations() {
                // Made by the first call, so a case that a filter leaves out costs nothing.
                let mut case = None;
                group.bench_function(BenchmarkId::new(codec.name(), size), |bencher| {
                    let case = case.get_or_insert_with(|| Case::new(codec, Data::Random, bytes));
                    match work {
                        "decode" => bencher.iter(|| case.decode()),
                        "encode" => bencher.iter(|| case.encode()),
                        _ => bencher.iter(|| case.echo()),
                    }
                });
            }
        }
    }
    let mut group = criterion.benchmark_group("floor");
    for &(size, bytes) in sizes {
        configure(&mut group, bytes);
        let mut copy = Copy::new(bytes);
        group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
            bencher.iter(|| copy.run());
        });
    }
    group.finish();
    criterion.final_summary();
}

/// Sets times so that all groups end within two minutes.
fn configure(group: &mut BenchmarkGroup<'_, WallTime>, bytes: u64) {
    group
        .throughput(Throughput::Bytes(bytes))
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(if bytes < 1 << 20 { 20 } else { 10 })
        .sampling_mode(if bytes < 1 << 20 { SamplingMode::Auto } else { SamplingMode::Flat });
}

/// Kinds of numbers: text codecs take different paths for them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Data {
    /// Doubles uniform in [0, 1): 17 digits.
    Random,
    /// Doubles of a normal distribution with deviation 100: as many digits, of any magnitude and
    /// sign.
    Normal,
    /// Doubles with two decimals below 100, like prices.
    Decimals,
    /// Doubles uniform in [0, 1), in rows of eight.
    Rows,
    /// Doubles of any magnitude, nearly all written with an exponent.
    Exponents,
    /// 64-bit integers below 1000.
    Narrow,
    /// 64-bit integers over the whole range.
    Wide,
    Bytes,
    Single,
}

impl Data {
    const ALL: [Data; 9] = [
        Data::Random,
        Data::Normal,
        Data::Decimals,
        Data::Rows,
        Data::Exponents,
        Data::Narrow,
        Data::Wide,
        Data::Bytes,
        Data::Single,
    ];

    fn name(self) -> &'static str {
        match self {
            Data::Random => "f8 random",
            Data::Normal => "f8 normal",
            Data::Decimals => "f8 decimals",
            Data::Rows => "f8 rows",
            Data::Exponents => "f8 exponents",
            Data::Narrow => "i8 narrow",
            Data::Wide => "i8 wide",
            Data::Bytes => "u1",
            Data::Single => "f4 random",
        }
    }

    fn array(self, bytes: u64) -> NdArray {
        let dtype = match self {
            Data::Random | Data::Normal | Data::Decimals | Data::Rows | Data::Exponents => "<f8",
            Data::Narrow | Data::Wide => "<i8",
            Data::Bytes => "|u1",
            Data::Single => "<f4",
        };
        let dtype = DType::parse(dtype).expect("it is on the list");
        let items = bytes / dtype.item_size() as u64;
        let dims =
            if self == Data::Rows { &[items.div_ceil(8), items.min(8)][..] } else { &[items] };
        let shape = Shape::new(dims).expect("two dimensions at most");
        let mut array = NdArray::seeded(dtype, shape, 1).expect("it fits memory");
        if let Data::Normal | Data::Decimals | Data::Exponents | Data::Narrow = self {
            let mut last = 0.5;
            for item in array.data_mut().as_chunks_mut::<8>().0 {
                *item = self.shaped(*item, &mut last);
            }
        }
        array
    }

    /// Makes a number of this kind from a random one; `last` is the previous random number.
    fn shaped(self, item: [u8; 8], last: &mut f64) -> [u8; 8] {
        let uniform = f64::from_le_bytes(item);
        match self {
            Data::Normal => {
                // Box and Muller.
                let radius = (-2.0 * (1.0 - std::mem::replace(last, uniform)).ln()).sqrt();
                (100.0 * radius * (std::f64::consts::TAU * uniform).cos()).to_le_bytes()
            }
            Data::Decimals => ((uniform * 1e4).floor() / 100.0).to_le_bytes(),
            Data::Exponents => {
                let magnitude = 600.0 * (std::mem::replace(last, uniform) - 0.5);
                (uniform * 10f64.powf(magnitude)).to_le_bytes()
            }
            _ => (u64::from_le_bytes(item) % 1000).to_le_bytes(),
        }
    }
}

/// One codec with one array, and the buffers that a server keeps.
struct Case {
    codec: &'static dyn ArrayCodec,
    codecs: CodecSet,
    array: NdArray,
    message: Bytes,
    scratch: Vec<u8>,
    out: Vec<u8>,
}

impl Case {
    /// Checks that the codec gives the right results.
    fn new(codec: &'static dyn ArrayCodec, data: Data, bytes: u64) -> Case {
        let array = data.array(bytes);
        let message = codec::message(codec, &array.view()).expect("numbers have a message");
        let message = Bytes::from(message);
        let codecs = CodecSet::own().with(codec.id());
        let (scratch, out) = (Vec::new(), Vec::new());
        let mut case = Case { codec, codecs, array, message, scratch, out };
        let decoded = codec.decode(&case.message, &mut case.scratch).expect("our own message");
        assert!(decoded == case.array.view(), "{} {data:?}", codec.name());
        case.encode();
        case.in_one_piece();
        let reply = codec::reply(codec, &case.array.view()).expect("it has a request");
        assert!(case.out == reply, "{} {data:?}", codec.name());
        case
    }

    fn decode(&mut self) {
        let array = self.codec.decode(black_box(&self.message), &mut self.scratch);
        black_box(array.expect("checked before"));
    }

    fn encode(&mut self) {
        self.out.clear();
        let encoded = self.codec.encode(black_box(&self.array.view()), &mut self.out);
        black_box(encoded.expect("checked before"));
    }

    fn echo(&mut self) -> Echoed {
        self.out.clear();
        let (encoding, mut body) = (self.codec.encoding(), black_box(&self.message));
        let Case { codecs, scratch, out, .. } = self;
        let echoed = match self.codec.owning_echo() {
            Some(_) => echo_shared(codecs, encoding, &mut body, scratch, out),
            None => echo(codecs, encoding, body, scratch, out),
        };
        black_box(echoed.expect("checked before"))
    }

    /// Echoes, and copies the payload to its place after the head.
    fn in_one_piece(&mut self) {
        let echoed = self.echo();
        if !echoed.payload.is_empty() {
            let mut tail = [0; 64];
            let tail = &mut tail[..self.out.len() - echoed.head_len];
            tail.copy_from_slice(&self.out[echoed.head_len..]);
            self.copy_payload(&echoed);
            self.out.extend_from_slice(tail);
        }
        black_box(&self.out);
    }

    /// Makes only that copy, between the same places: their offsets in the pages make up to a
    /// quarter of the time of 64 KiB.
    fn copy_payload(&mut self, echoed: &Echoed) {
        self.out.truncate(echoed.head_len);
        self.out.extend_from_slice(black_box(&self.message[echoed.payload.clone()]));
        black_box(&self.out);
    }
}

/// Floor: one copy into an existing buffer.
struct Copy {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Copy {
    fn new(bytes: u64) -> Copy {
        let from = Data::Bytes.array(bytes).view().data().to_vec();
        Copy { from, to: vec![0; bytes as usize] }
    }

    fn run(&mut self) {
        self.to.copy_from_slice(black_box(&self.from));
        black_box(&self.to);
    }
}

/// Prints a line for each own codec, library form of its encoding, kind of numbers, size and level
/// that `picked` names; for all if it names none.
fn print_table(picked: &[&str]) {
    println!(
        "\nOwn codecs: time, and how many times as long the library form takes (npy has none)."
    );
    println!(
        "Behind the echo, how many times as long as one copy of the array it takes itself; in one piece, with"
    );
    println!("the payload copied to where its head is, how many times as long as that copy.");
    println!("CPU time, median of {ROUNDS} turns; the allocator is the system's.\n");
    println!(
        "{:<12}{:<21}{:<13}{:>7}{:>11}{:>7}{:>11}{:>7}{:>11}{:>7}{:>9}{:>13}",
        "codec",
        "library",
        "array",
        "size",
        "decode",
        "x",
        "encode",
        "x",
        "echo",
        "x",
        "/memcpy",
        "in one piece"
    );
    let best = Level::all().last().expect("there is a portable level");
    let own = implementations().filter(|codec| codec.id().is_own());
    let own = pick(picked, own.collect(), |codec| codec.name());
    let sizes = SIZES.into_iter().chain(std::env::var_os("CODEC_BENCH_LARGE").map(|_| LARGE));
    let sizes = pick(picked, sizes.collect(), |size| size.0);
    let kinds = pick(picked, Data::ALL.to_vec(), |data| data.name());
    let levels: Vec<_> = Level::all().filter(|level| picked.contains(&level.name())).collect();
    let unlimited = [best];
    let levels = if levels.is_empty() { &unlimited[..] } else { &levels };
    for own in own {
        let is_library = |codec: &&dyn ArrayCodec| {
            codec.encoding() == own.encoding() && codec.name() != own.name()
        };
        let libraries = pick(picked, implementations().filter(is_library).collect(), |c| c.name());
        let libraries: Vec<_> = match libraries.is_empty() {
            true => vec![None],
            false => libraries.into_iter().map(Some).collect(),
        };
        for (&library, &data) in libraries.iter().flat_map(|l| kinds.iter().map(move |k| (l, k))) {
            for &(size, bytes) in &sizes {
                for level in levels {
                    level.limit();
                    print_line(own, library, data, size, bytes);
                    println!("{}", if levels.len() > 1 { level.name() } else { "" });
                }
            }
        }
    }
    best.limit();
}

/// Keeps the items of `all` that are named; keeps all if none is named.
fn pick<T>(names: &[&str], mut all: Vec<T>, name: impl Fn(&T) -> &'static str) -> Vec<T> {
    if all.iter().any(|one| names.contains(&name(one))) {
        all.retain(|one| names.contains(&name(one)));
    }
    all
}

fn print_line(
    own: &'static dyn ArrayCodec,
    library: Option<&'static dyn ArrayCodec>,
    data: Data,
    size: &str,
    bytes: u64,
) {
    let mut own = Case::new(own, data, bytes);
    let mut library = library.map(|codec| Case::new(codec, data, bytes));
    let mut copy = Copy::new(bytes);
    let mut times = Vec::new();
    for work in [Case::decode, Case::encode, |case: &mut Case| _ = case.echo()] {
        let mut theirs = || {
            if let Some(case) = &mut library {
                work(case)
            }
        };
        times.push(medians([&mut || work(&mut own), &mut theirs]));
    }
    let library_name = library.as_ref().map_or("-", |case| case.codec.name());
    print!("{:<12}{library_name:<21}{:<13}{size:>7}", own.codec.name(), data.name());
    let echoed = own.echo();
    let own = RefCell::new(own);
    let [memcpy, payload, whole] =
        medians([&mut || copy.run(), &mut || own.borrow_mut().copy_payload(&echoed), &mut || {
            own.borrow_mut().in_one_piece()
        }]);
    for [ours, theirs] in &times {
        let ratio = library.as_ref().map_or("-".to_owned(), |_| times_as_long(theirs / ours));
        print!("{:>11}{ratio:>7}", human(*ours));
    }
    let gathers = !echoed.payload.is_empty();
    let whole = if gathers { format!("{:.2}", whole / payload) } else { "-".to_owned() };
    print!("{:>9.2}{whole:>13}  ", times[2][0] / memcpy);
}

const ROUNDS: usize = 11;

/// Returns the nanoseconds of each kind of work, all measured once in each round.
fn medians<const N: usize>(mut works: [&mut dyn FnMut(); N]) -> [f64; N] {
    const TURN: Duration = Duration::from_millis(1);
    let mut counts = [1u32; N];
    for (work, count) in works.iter_mut().zip(&mut counts) {
        while *count < 1 << 20 && time(work, *count) < TURN {
            *count *= 2;
        }
    }
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((work, count), times) in works.iter_mut().zip(counts).zip(&mut times) {
            times.push(time(work, count).as_nanos() as f64 / f64::from(count));
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// Measures the CPU time of this thread for `count` runs.
fn time(work: &mut dyn FnMut(), count: u32) -> Duration {
    let start = cpu();
    for _ in 0..count {
        work();
    }
    cpu() - start
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has it").into()
}

fn times_as_long(ratio: f64) -> String {
    match ratio {
        0.0..10.0 => format!("{ratio:.2}"),
        10.0..1e3 => format!("{ratio:.0}"),
        _ => format!("{:.0}k", ratio / 1e3),
    }
}

fn human(ns: f64) -> String {
    match ns {
        0.0..1e3 => format!("{ns:.1} ns"),
        1e3..1e6 => format!("{:.2} us", ns / 1e3),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}
