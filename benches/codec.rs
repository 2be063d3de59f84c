//! What an array costs to read and write, for every codec in the table.
//!
//! Groups `decode`, `encode` and `echo` (both, as a server does them), each `group/codec/size` over arrays of random
//! doubles; `floor/memcpy/size` is one copy of the same bytes. Throughput counts the array's bytes, whatever the
//! message's. Buffers are reused as a server reuses them. Each result is checked before it is timed.
//!
//! Criterion prints each on its own, so a table of own against library form follows, measured in turns within the
//! same seconds (`cargo bench --bench codec`; a filter or `--test` leaves it out). Mind when reading it that our
//! binary codecs hand the payload back where it lies: what is left for the kernel to copy is not in these times,
//! and no more is it in the library's.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use ndecho::array::{DType, NdArray, Shape};
use ndecho::codec::{self, CODECS, Codec};
use ndecho::echo::{CodecSet, Echoed, echo};

const SIZES: [(&str, u64); 5] =
    [("8B", 8), ("2KiB", 2 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20), ("16MiB", 16 << 20)];

fn main() {
    let mut criterion = Criterion::default().configure_from_args().without_plots();
    for work in ["decode", "encode", "echo"] {
        let mut group = criterion.benchmark_group(work);
        for (size, bytes) in SIZES {
            configure(&mut group, bytes);
            for codec in CODECS {
                // Made by the first call, so that a case that a filter leaves out costs nothing.
                let mut case = None;
                group.bench_function(BenchmarkId::new(codec.name(), size), |bencher| {
                    let case = case.get_or_insert_with(|| Case::new(*codec, bytes));
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
    for (size, bytes) in SIZES {
        configure(&mut group, bytes);
        let mut copy = Copy::new(bytes);
        group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
            bencher.iter(|| copy.run());
        });
    }
    group.finish();
    criterion.final_summary();
    // Cargo says `--bench`; anything more is a filter or another mode.
    if std::env::args().skip(1).eq(["--bench"]) {
        print_ratios();
    }
}

/// Short enough that all of it ends within minutes, the slowest case (16 MiB as a JSON list) included.
fn configure(group: &mut BenchmarkGroup<'_, WallTime>, bytes: u64) {
    group
        .throughput(Throughput::Bytes(bytes))
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(if bytes < 1 << 20 { 20 } else { 10 })
        .sampling_mode(if bytes < 1 << 20 { SamplingMode::Auto } else { SamplingMode::Flat });
}

fn array(bytes: u64) -> NdArray {
    let shape = Shape::new(&[bytes / 8]).expect("one dimension");
    NdArray::seeded(DType::F8, shape, 1).expect("a few MiB")
}

/// One codec at one size, with the buffers that a server keeps.
struct Case {
    codec: &'static dyn Codec,
    codecs: CodecSet,
    array: NdArray,
    message: Vec<u8>,
    scratch: Vec<u8>,
    out: Vec<u8>,
}

impl Case {
    /// Checks that the codec does what is about to be timed.
    fn new(codec: &'static dyn Codec, bytes: u64) -> Case {
        let array = array(bytes);
        let message = codec::message(codec, &array.view()).expect("doubles have a message");
        let codecs = CodecSet::own().with(codec);
        let (scratch, out) = (Vec::new(), Vec::new());
        let mut case = Case { codec, codecs, array, message, scratch, out };
        let decoded = codec.decode(&case.message, &mut case.scratch).expect("our own message");
        assert_eq!(decoded, case.array.view(), "{}", codec.name());
        let Echoed { head_len, payload, .. } = case.echo();
        let (head, tail) = case.out.split_at(head_len);
        let reply = [head, &case.message[payload], tail].concat();
        assert!(reply == case.message, "{}", codec.name());
        case
    }

    fn decode(&mut self) -> usize {
        let array = self.codec.decode(black_box(&self.message), &mut self.scratch);
        black_box(array.expect("checked before")).data().len()
    }

    fn encode(&mut self) -> usize {
        self.out.clear();
        let encoded = self.codec.encode(black_box(&self.array.view()), &mut self.out);
        black_box(encoded.expect("checked before")).head_len
    }

    fn echo(&mut self) -> Echoed {
        self.out.clear();
        let (encoding, body) = (self.codec.encoding(), black_box(&self.message));
        let echoed = echo(&self.codecs, encoding, body, &mut self.scratch, &mut self.out);
        black_box(echoed.expect("checked before"))
    }
}

/// The floor: one copy into a buffer that is there already.
struct Copy {
    from: NdArray,
    to: Vec<u8>,
}

impl Copy {
    fn new(bytes: u64) -> Copy {
        Copy { from: array(bytes), to: vec![0; bytes as usize] }
    }

    fn run(&mut self) {
        self.to.copy_from_slice(black_box(self.from.view().data()));
        black_box(&self.to);
    }
}

/// Prints an echo of each own codec beside its library form, and beside one copy.
fn print_ratios() {
    println!("\nOne echo, median of {ROUNDS} turns; x = library / own");
    println!(
        "{:<20}{:>7}{:>12}{:>12}{:>10}{:>12}",
        "library form", "size", "own", "library", "x", "memcpy"
    );
    for library in CODECS.iter().filter(|codec| codec.name() != codec.encoding().name()) {
        let own = codec::find(library.encoding().name()).expect("own codecs have plain names");
        for (size, bytes) in SIZES {
            let (mut ours, mut theirs) = (Case::new(own, bytes), Case::new(*library, bytes));
            let mut copy = Copy::new(bytes);
            let works: [&mut dyn FnMut(); 3] =
                [&mut || _ = ours.echo(), &mut || _ = theirs.echo(), &mut || copy.run()];
            let [own, other, memcpy] = medians(works);
            println!(
                "{:<20}{size:>7}{:>12}{:>12}{:>10.2}{:>12}",
                library.name(),
                human(own),
                human(other),
                other / own,
                human(memcpy),
            );
        }
    }
}

const ROUNDS: usize = 11;

/// Nanoseconds that each work takes, all of them measured once in each round.
fn medians<const N: usize>(mut works: [&mut dyn FnMut(); N]) -> [f64; N] {
    const TURN: Duration = Duration::from_millis(2);
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

fn time(work: &mut dyn FnMut(), count: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        work();
    }
    start.elapsed()
}

fn human(ns: f64) -> String {
    match ns {
        0.0..1e3 => format!("{ns:.1} ns"),
        1e3..1e6 => format!("{:.2} us", ns / 1e3),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}
