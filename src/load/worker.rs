//! Runs one load: makes its array and message, connects, drives the connections to the run's end.

use std::path::Path;

use crate::array::NdArray;
use crate::codec::{self, Encoding};

use super::LoadError;
use super::plan::Source;

/// The array that `source` names.
pub fn array(source: &Source) -> Result<NdArray, LoadError> {
    match source {
        Source::Seeded { dtype, shape, seed } => {
            NdArray::seeded(*dtype, shape.clone(), *seed).map_err(LoadError::Array)
        }
        Source::File(path) => read(path),
    }
}

fn read(path: &Path) -> Result<NdArray, LoadError> {
    let what = "reading the array's file";
    let file = std::fs::read(path).map_err(|source| LoadError::Io { what, source })?;
    let npy = codec::find(Encoding::Npy.name()).expect("npy is one of our own codecs");
    let mut scratch = Vec::new();
    let view = npy.decode(&file, &mut scratch).map_err(LoadError::Codec)?;
    NdArray::new(view.dtype(), view.shape().clone(), view.data().to_vec()).map_err(LoadError::Array)
}
