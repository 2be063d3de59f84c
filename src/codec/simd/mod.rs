//! Kernels in vector instructions: the only `unsafe` code of the codecs.
//!
//! A kernel is a safe function over slices and vectors of bytes. All forms give the same answer for
//! every input, and the tests run the same cases through each form that the processor has. The form
//! is an argument: a caller picks it once ([`Isa::best`]). A kernel for numbers as text handles the
//! common ones and reports which; the caller handles the others in safe code. A kernel knows
//! neither JSON nor arrays and reads nothing outside its slices.
//!
//! | level | needs | since |
//! |---|---|---|
//! | [`Isa::Portable`] | nothing; used by Miri and on other architectures | |
//! | [`Isa::Avx2`] | AVX2, BMI1, BMI2, LZCNT, POPCNT | Haswell 2013, Zen 2017 |
//! | [`Isa::Avx512`] | those and AVX-512 F BW CD DQ VL VBMI VBMI2 IFMA | Ice Lake 2019, Zen 4 |

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

/// Proof that the processor has the features of [`Isa::Avx2`]; only [`Avx2::detect`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

/// Proof that the processor has the features of [`Isa::Avx512`]; only [`Avx512::detect`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    Portable,
    Avx2(Avx2),
    Avx512(Avx512),
}

impl Avx2 {
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

/// Upper limit for the instructions of all kernels; benches compare levels with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Portable,
    Avx2,
    Avx512,
}

static LIMIT: AtomicU8 = AtomicU8::new(Level::Avx512 as u8);

impl Level {
    pub fn all() -> impl Iterator<Item = Level> {
        [Level::Portable, Level::Avx2, Level::Avx512]
            .into_iter()
            .filter(|level| level.isa().is_some())
    }

    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    /// Limits all codecs of this process to this level from now on.
    pub fn limit(self) {
        LIMIT.store(self as u8, Ordering::Relaxed);
    }

    fn isa(self) -> Option<Isa> {
        match self {
            Level::Portable => Some(Isa::Portable),
            Level::Avx2 => Avx2::detect().map(Isa::Avx2),
            Level::Avx512 => Avx512::detect().map(Isa::Avx512),
        }
    }
}

impl Isa {
    /// Returns the highest level of this processor up to [`Level::limit`].
    pub(crate) fn best() -> Isa {
        static BEST: LazyLock<[Isa; 3]> = LazyLock::new(|| {
            let avx2 = Level::Avx2.isa().unwrap_or(Isa::Portable);
            [Isa::Portable, avx2, Level::Avx512.isa().unwrap_or(avx2)]
        });
        BEST[usize::from(LIMIT.load(Ordering::Relaxed))]
    }

    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Isa> {
        Level::all().flat_map(Level::isa)
    }
}
