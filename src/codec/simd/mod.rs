//! Kernels in the processor's vector instructions: the only `unsafe` of the codecs.
//!
//! A kernel is a safe function over slices and vectors of bytes. Beside its vector forms stands a portable one in
//! safe Rust, which is what it means: all forms give the same answer for every input, and the tests run the same
//! cases through each that the machine has. Which one runs is an argument, so that a caller picks once
//! ([`Isa::best`]) and a loop inside a kernel never asks again. A kernel for numbers as text takes those that it is
//! made for and says which; the others, and all of them on the portable level, are its caller's, in safe code.
//!
//! Nothing here knows JSON or an array, reads outside the slices it was given, or looks at the environment.
//!
//! | level | needs | since |
//! |---|---|---|
//! | [`Isa::Portable`] | nothing; what Miri and other architectures run | |
//! | [`Isa::Avx2`] | AVX2, BMI1, BMI2, LZCNT, POPCNT | Haswell 2013, Zen 2017 |
//! | [`Isa::Avx512`] | those and AVX-512 F, BW, CD, DQ, VL, VBMI, VBMI2, IFMA | Ice Lake 2019, Zen 4 2022 |

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

pub(crate) mod base64;
#[cfg(target_arch = "x86_64")]
mod decimal;
#[cfg(target_arch = "x86_64")]
mod lanes;
pub(crate) mod read_floats;
pub(crate) mod read_integers;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tokens;
pub(crate) mod write_floats;
pub(crate) mod write_integers;

/// Proof that the processor has what [`Isa::Avx2`] needs: only [`Avx2::detect`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

/// Proof that the processor has what [`Isa::Avx512`] needs: only [`Avx512::detect`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

/// The instructions that a kernel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Those of every processor.
    Portable,
    /// Vectors of 32 bytes.
    Avx2(Avx2),
    /// Vectors of 64 bytes with byte permutations.
    Avx512(Avx512),
}

impl Avx2 {
    /// Asks the processor.
    #[cfg(target_arch = "x86_64")]
    fn detect() -> Option<Avx2> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        has.then_some(Avx2(()))
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Option<Avx2> {
        None
    }
}

impl Avx512 {
    /// Asks the processor.
    #[cfg(target_arch = "x86_64")]
    fn detect() -> Option<Avx512> {
        let has = Avx2::detect().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("avx512ifma");
        has.then_some(Avx512(()))
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detect() -> Option<Avx512> {
        None
    }
}

/// Most instructions that the codecs' kernels may use: who compares levels picks one by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Portable code.
    Portable,
    /// AVX2.
    Avx2,
    /// AVX-512.
    Avx512,
}

/// A [`Level`] that kernels do not go beyond, whatever the processor has.
static LIMIT: AtomicU8 = AtomicU8::new(Level::Avx512 as u8);

impl Level {
    /// Every level that this processor has, the portable one first.
    pub fn all() -> impl Iterator<Item = Level> {
        [Level::Portable, Level::Avx2, Level::Avx512]
            .into_iter()
            .filter(|level| level.isa().is_some())
    }

    /// Its name: `portable`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    /// From now on the codecs of this process use no more than this.
    pub fn limit(self) {
        LIMIT.store(self as u8, Ordering::Relaxed);
    }

    /// The proof that the processor has it.
    fn isa(self) -> Option<Isa> {
        match self {
            Level::Portable => Some(Isa::Portable),
            Level::Avx2 => Avx2::detect().map(Isa::Avx2),
            Level::Avx512 => Avx512::detect().map(Isa::Avx512),
        }
    }
}

impl Isa {
    /// The most that this processor has, but no more than [`Level::limit`] allows. The processor is asked once.
    pub(crate) fn best() -> Isa {
        static BEST: LazyLock<[Isa; 3]> = LazyLock::new(|| {
            let avx2 = Level::Avx2.isa().unwrap_or(Isa::Portable);
            [Isa::Portable, avx2, Level::Avx512.isa().unwrap_or(avx2)]
        });
        BEST[usize::from(LIMIT.load(Ordering::Relaxed))]
    }

    /// Every level that this processor has, the portable one first.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Isa> {
        Level::all().flat_map(Level::isa)
    }
}
