//! Errors of every codec, each with the place in the message where it is known.

use std::fmt;

use crate::array::ArrayError;

/// Result of reading or writing a message.
pub type Result<T, E = CodecError> = std::result::Result<T, E>;

/// Why a body is not an array, or an array has no body in this encoding. Always the peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The text or bytes break the encoding's grammar.
    #[error("{encoding} at byte {at}: {what}")]
    Syntax {
        /// Encoding being read.
        encoding: &'static str,
        /// Offset in the body.
        at: usize,
        /// What was found or expected.
        what: &'static str,
    },
    /// A library refuses it.
    #[error("{encoding}: {what}")]
    Library {
        /// Encoding being read.
        encoding: &'static str,
        /// What the library says.
        what: String,
    },
    /// Well-formed, but a field is missing, of the wrong type or of an impossible value.
    #[error("{encoding}{}: field {field:?}: {what}", Place(*at))]
    Field {
        /// Encoding being read.
        encoding: &'static str,
        /// Offset in the body of the field, or of the end where it is missing; a library does not tell.
        at: Option<usize>,
        /// Field concerned.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Dtype, shape and length do not fit each other.
    #[error("{encoding}{}: {source}", Place(*at))]
    Array {
        /// Encoding being read.
        encoding: &'static str,
        /// Offset in the body of the part that does not fit; a library does not tell.
        at: Option<usize>,
        /// What does not fit.
        source: ArrayError,
    },
    /// The encoding cannot carry this array exactly (complex numbers in a JSON list).
    #[error("{encoding}{}: cannot carry {what}", Place(*at))]
    Unsupported {
        /// Encoding being written or read.
        encoding: &'static str,
        /// Offset in the body of what asks for it; an array that is written has none, and a library does not tell.
        at: Option<usize>,
        /// What it cannot carry.
        what: String,
    },
}

impl CodecError {
    /// Offset in the body at which it is wrong; `None` for an array that is written and where a library refuses.
    pub fn at(&self) -> Option<usize> {
        match self {
            CodecError::Syntax { at, .. } => Some(*at),
            CodecError::Field { at, .. }
            | CodecError::Array { at, .. }
            | CodecError::Unsupported { at, .. } => *at,
            CodecError::Library { .. } => None,
        }
    }

    /// A field is not what it has to be.
    pub(super) fn field(
        encoding: &'static str,
        field: &'static str,
        what: impl Into<String>,
    ) -> CodecError {
        CodecError::Field { encoding, at: None, field, what: what.into() }
    }

    /// The same error, which is about what stands at `place` unless it says so itself.
    pub(super) fn or_at(mut self, place: usize) -> CodecError {
        if let CodecError::Field { at, .. }
        | CodecError::Array { at, .. }
        | CodecError::Unsupported { at, .. } = &mut self
        {
            at.get_or_insert(place);
        }
        self
    }

    /// A library's own words, cut short: they may repeat what the peer sent.
    pub(super) fn library<E: fmt::Display>(encoding: &'static str) -> impl Fn(E) -> CodecError {
        const CHARS_MAX: usize = 200;
        move |error| {
            let what = error.to_string().chars().take(CHARS_MAX).collect();
            CodecError::Library { encoding, what }
        }
    }

    /// Names the encoding whose parts do not make an array.
    pub(super) fn array(encoding: &'static str) -> impl Fn(ArrayError) -> CodecError {
        move |source| CodecError::Array { encoding, at: None, source }
    }
}

/// An offset as it stands in a message, if there is one.
struct Place(Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |at| write!(f, " at byte {at}"))
    }
}
