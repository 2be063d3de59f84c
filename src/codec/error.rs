//! Errors of all codecs, with the place in the message where it is known.

use std::fmt;

use crate::array::ArrayError;

pub type Result<T, E = CodecError> = std::result::Result<T, E>;

/// Reason why a body is not an array or an encoding cannot represent one. The peer is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("{encoding} at byte {at}: {what}")]
    Syntax { encoding: &'static str, at: usize, what: &'static str },
    #[error("{encoding}: {what}")]
    Library { encoding: &'static str, what: String },
    #[error("{encoding}{}: field {field:?}: {what}", Place(*at))]
    Field {
        encoding: &'static str,
        /// Offset of the field, or the body's end for a missing field; unknown from a library.
        at: Option<usize>,
        field: &'static str,
        what: String,
    },
    #[error("{encoding}{}: {source}", Place(*at))]
    Array {
        encoding: &'static str,
        /// Offset of the mismatched part in the body; unknown from a library.
        at: Option<usize>,
        source: ArrayError,
    },
    /// Array that the encoding cannot represent exactly, like complex numbers in a JSON list.
    #[error("{encoding}{}: cannot carry {what}", Place(*at))]
    Unsupported {
        encoding: &'static str,
        /// Offset in the body; unknown from a library, absent for an array that is written.
        at: Option<usize>,
        what: String,
    },
}

impl CodecError {
    /// Returns the offset of the fault in the body, if it is known.
    pub fn offset(&self) -> Option<usize> {
        match self {
            CodecError::Syntax { at, .. } => Some(*at),
            CodecError::Field { at, .. }
            | CodecError::Array { at, .. }
            | CodecError::Unsupported { at, .. } => *at,
            CodecError::Library { .. } => None,
        }
    }

    pub(super) fn field(
        encoding: &'static str,
        field: &'static str,
        what: impl Into<String>,
    ) -> CodecError {
        CodecError::Field { encoding, at: None, field, what: what.into() }
    }

    pub(super) fn or_at(mut self, place: usize) -> CodecError {
        if let CodecError::Field { at, .. }
        | CodecError::Array { at, .. }
        | CodecError::Unsupported { at, .. } = &mut self
        {
            at.get_or_insert(place);
        }
        self
    }

    /// Wraps the text of a library's error, shortened because it may repeat bytes of the peer.
    pub(super) fn library<E: fmt::Display>(encoding: &'static str) -> impl Fn(E) -> CodecError {
        const CHARS_MAX: usize = 200;
        move |error| {
            let what = error.to_string().chars().take(CHARS_MAX).collect();
            CodecError::Library { encoding, what }
        }
    }

    pub(super) fn array(encoding: &'static str) -> impl Fn(ArrayError) -> CodecError {
        move |source| CodecError::Array { encoding, at: None, source }
    }
}

struct Place(Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |at| write!(f, " at byte {at}"))
    }
}
