//! The echo: decodes a message into a checked array, then encodes a new response from that array.
//!
//! This is the one place that implements the work of every rung. No content of a request is kept
//! for the next one; the scratch keeps capacity of [`SCRATCH_BYTES_KEPT`], or up to
//! [`SCRATCH_BYTES_MAX`] while messages need it.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use crate::axis::Encoding;
use crate::codec::{ArrayCodec, CodecError, Effort, Encoded, json, kserve};
use crate::wire::limits::COPIED_FACTOR;
use crate::wire::{Charge, Detached, Limits, Pool, Refusal, Refused, Slice, WorkerCounts};

use super::codecs::CodecSet;
use super::panics;

/// Scratch capacity that stays between messages in any case.
pub const SCRATCH_BYTES_KEPT: usize = 4 * 1024 * 1024;

/// Most scratch capacity that stays while messages need it: it holds arrays of 16 MiB as text.
pub const SCRATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Messages in a row that need less than a quarter of the scratch, before the excess is freed.
const SPARED_MAX: u32 = 32;

/// Response cut for a vectored write: `out[..head_len]`, `body[payload]`, `out[head_len..]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echoed {
    /// Encoding of the response; for JSON and an inference, the form of the request.
    pub encoding: Encoding,
    /// Bytes of `out` before the payload, counted from its end before the call.
    pub head_len: usize,
    /// Payload of the response, as a part of the request body; empty if the codec wrote everything.
    pub payload: Range<usize>,
}

/// Body of a request that a message can own a part of.
pub trait SharedBody: AsRef<[u8]> {
    /// Calls `work` with the body as a `Bytes`, not copied.
    fn with_bytes<T>(&mut self, work: impl FnOnce(Bytes) -> T) -> T;
}

impl SharedBody for Slice {
    fn with_bytes<T>(&mut self, work: impl FnOnce(Bytes) -> T) -> T {
        Slice::with_bytes(self, work)
    }
}

impl SharedBody for Detached {
    fn with_bytes<T>(&mut self, work: impl FnOnce(Bytes) -> T) -> T {
        Detached::with_bytes(self, work)
    }
}

impl SharedBody for &Bytes {
    fn with_bytes<T>(&mut self, work: impl FnOnce(Bytes) -> T) -> T {
        work(self.clone())
    }
}

/// Echo of one worker. Clones share its scratch, which one call at a time uses.
#[derive(Clone, Debug)]
pub struct EchoService(Rc<Shared>);

/// Echo of one long message, on any thread.
#[derive(Clone, Copy, Debug)]
pub struct LongEcho {
    codec: &'static dyn ArrayCodec,
    encoding: Encoding,
    counts: &'static WorkerCounts,
}

#[derive(Debug)]
struct Shared {
    codecs: CodecSet,
    /// Codecs for another thread, whose delays have accounts of their own.
    job_codecs: CodecSet,
    limits: Limits,
    scratch: RefCell<Scratch>,
    pool: Pool,
    is_draining: Cell<bool>,
}

#[derive(Debug)]
struct Scratch {
    bytes: Vec<u8>,
    charge: Charge,
    /// Messages in a row that left most of `bytes` unused.
    spared: u32,
}

impl EchoService {
    pub fn new(codecs: CodecSet, limits: Limits, pool: Pool) -> EchoService {
        EchoService::with_jobs(codecs, codecs, limits, pool)
    }

    /// Makes an echo whose long messages are worked on by another thread, with `job_codecs`.
    pub fn with_jobs(
        codecs: CodecSet,
        job_codecs: CodecSet,
        limits: Limits,
        pool: Pool,
    ) -> EchoService {
        let scratch = Scratch { bytes: Vec::new(), charge: pool.charge(), spared: 0 };
        let (scratch, is_draining) = (RefCell::new(scratch), Cell::new(false));
        EchoService(Rc::new(Shared { codecs, job_codecs, limits, scratch, pool, is_draining }))
    }

    pub fn codecs(&self) -> &CodecSet {
        &self.0.codecs
    }

    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Notes that the server shuts down, which changes its health.
    pub fn drain(&self) {
        self.0.is_draining.set(true);
    }

    pub fn is_draining(&self) -> bool {
        self.0.is_draining.get()
    }

    #[inline]
    pub fn echo(
        &self,
        encoding: Encoding,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Echoed, Refused> {
        self.handle(out, |scratch, out| echo(&self.0.codecs, encoding, body, scratch, out))
    }

    pub fn echo_shared(
        &self,
        encoding: Encoding,
        body: &mut impl SharedBody,
        out: &mut Vec<u8>,
    ) -> Result<Echoed, Refused> {
        self.handle(out, |scratch, out| echo_shared(&self.0.codecs, encoding, body, scratch, out))
    }

    /// Begins the echo of a message whose work is long, if it is, for another thread. This counts
    /// the request and spends the delay of the handler.
    #[inline]
    pub fn long(&self, encoding: Encoding, body: &[u8]) -> Option<LongEcho> {
        if body.len() < self.0.limits.job_bytes_min {
            None
        } else {
            self.begin_long(encoding, body)
        }
    }

    #[cold]
    fn begin_long(&self, encoding: Encoding, body: &[u8]) -> Option<LongEcho> {
        let encoding = form(encoding, body).ok()?;
        let codec = self.0.job_codecs.get(encoding)?;
        let bytes_min = match codec.effort(body) {
            Effort::Borrows => return None,
            Effort::Copies => self.0.limits.job_bytes_min.saturating_mul(COPIED_FACTOR),
            Effort::Converts => self.0.limits.job_bytes_min,
        };
        if body.len() < bytes_min {
            return None;
        }
        self.count_job();
        self.0.codecs.delay().wait();
        Some(LongEcho { codec, encoding, counts: self.0.limits.counts })
    }

    /// Counts a request that another thread works on, and returns the codecs of that thread.
    pub(super) fn count_job(&self) -> CodecSet {
        let counts = self.0.limits.counts;
        counts.requests.add(1);
        counts.jobs.add(1);
        self.0.job_codecs
    }

    /// Does the work of a request, which leaves `out` as it was if it fails.
    #[inline(always)]
    fn handle(
        &self,
        out: &mut Vec<u8>,
        work: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>) -> Result<Echoed, CodecError>,
    ) -> Result<Echoed, Refused> {
        let Scratch { bytes, charge, spared } = &mut *self.0.scratch.borrow_mut();
        bytes.clear();
        let start = out.len();
        let echoed = panics::contain(self.0.limits.counts, || work(bytes, out).map_err(refused));
        trim(bytes, spared);
        charge.set(bytes.capacity());
        echoed.inspect_err(|_| out.truncate(start))
    }
}

impl LongEcho {
    /// Encoding of the response.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Does the work as [`EchoService::echo_shared`] does. A scratch that is too large to keep is
    /// freed on this thread: that takes milliseconds.
    pub fn run(
        &self,
        body: &mut impl SharedBody,
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Echoed, Refused> {
        let start = out.len();
        let echoed = panics::catch(self.counts, || {
            let echoed = exchange_shared(self.encoding, Some(self.codec), body, scratch, out);
            echoed.map_err(refused)
        });
        trim(scratch, &mut 0);
        echoed.inspect_err(|_| out.truncate(start))
    }
}

/// Echoes one message with buffers made for the call, on any thread, and returns all pieces.
pub fn echo_once(
    codecs: &CodecSet,
    counts: &WorkerCounts,
    encoding: Encoding,
    mut body: &Bytes,
) -> Result<(Echoed, Vec<u8>), Refused> {
    panics::contain(counts, || {
        let mut out = Vec::new();
        let echoed = echo_shared(codecs, encoding, &mut body, &mut Vec::new(), &mut out);
        Ok((echoed.map_err(refused)?, out))
    })
}

/// Does the work of [`echo`] on a body that a message can own: a library that takes a `Bytes` then
/// copies the payload as often as under tonic, which also hands it a `Bytes`.
pub fn echo_shared(
    codecs: &CodecSet,
    encoding: Encoding,
    body: &mut impl SharedBody,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Echoed, CodecError> {
    let (encoding, codec) = begin(codecs, encoding, body.as_ref())?;
    exchange_shared(encoding, codec, body, scratch, out)
}

fn exchange_shared(
    encoding: Encoding,
    codec: Option<&'static dyn ArrayCodec>,
    body: &mut impl SharedBody,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Echoed, CodecError> {
    let Some(owning_echo) = codec.and_then(ArrayCodec::owning_echo) else {
        return exchange(encoding, codec, body.as_ref(), scratch, out);
    };
    let start = out.len();
    let written = body.with_bytes(|bytes| owning_echo(bytes, out));
    written.inspect_err(|_| out.truncate(start))?;
    Ok(Echoed { encoding, head_len: out.len() - start, payload: 0..0 })
}

/// Echoes one message; either JSON encoding stands for both forms, as either one of an inference
/// does, and the response has the form of the request. Appends head and tail to `out`, which is
/// unchanged after an error. Inlined, so that the result is made where it is used: copies of it
/// stall on the stores before them.
#[inline(always)]
pub fn echo(
    codecs: &CodecSet,
    encoding: Encoding,
    body: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Echoed, CodecError> {
    let (encoding, codec) = begin(codecs, encoding, body)?;
    exchange(encoding, codec, body, scratch, out)
}

/// Spends the injected delay, and chooses the codec of a message.
#[inline(always)]
fn begin(
    codecs: &CodecSet,
    encoding: Encoding,
    body: &[u8],
) -> Result<(Encoding, Option<&'static dyn ArrayCodec>), CodecError> {
    codecs.delay().wait();
    let encoding = form(encoding, body)?;
    Ok((encoding, codecs.get(encoding)))
}

/// Returns the encoding that a body has, of the two forms of JSON or of an inference.
#[inline(always)]
pub(super) fn form(encoding: Encoding, body: &[u8]) -> Result<Encoding, CodecError> {
    match encoding {
        Encoding::Json | Encoding::JsonBinary => json::form(body),
        Encoding::Kserve | Encoding::KserveTyped => Ok(kserve::form(encoding, body)),
        other => Ok(other),
    }
}

#[inline(always)]
fn exchange(
    encoding: Encoding,
    codec: Option<&'static dyn ArrayCodec>,
    body: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Echoed, CodecError> {
    let Some(codec) = codec else {
        return Ok(Echoed { encoding, head_len: 0, payload: 0..body.len() });
    };
    let start = out.len();
    let Encoded { head_len, payload } =
        codec.echo(body, scratch, out).inspect_err(|_| out.truncate(start))?;
    if payload.is_empty() {
        return Ok(Echoed { encoding, head_len, payload: 0..0 });
    }
    if let Some(payload) = place(payload, body) {
        return Ok(Echoed { encoding, head_len, payload });
    }
    // The payload lies in the scratch (a transposed .npy), which the next request overwrites.
    out.extend_from_slice(payload);
    out[start + head_len..].rotate_right(payload.len());
    Ok(Echoed { encoding, head_len: out.len() - start, payload: 0..0 })
}

/// Finds the range of `body` that is `part`, if it is one. `part` is not empty.
fn place(part: &[u8], body: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= body.len()).then_some(start..end)
}

pub(super) fn refused(error: CodecError) -> Refused {
    Refused::new(Refusal::BadRequest, error.to_string())
}

/// Frees `buffer` if it is too large to keep. `spared` counts the messages that needed much less.
pub(crate) fn trim(buffer: &mut Vec<u8>, spared: &mut u32) {
    let room = buffer.capacity();
    let idle = room > SCRATCH_BYTES_KEPT && buffer.len() < room / 4;
    *spared = if idle { *spared + 1 } else { 0 };
    if *spared >= SPARED_MAX || room > SCRATCH_BYTES_MAX {
        *buffer = Vec::new();
        *spared = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{ArrayView, DType, NdArray, Shape};
    use crate::codec;

    fn reply(encoding: Encoding, body: &[u8]) -> Result<Vec<u8>, CodecError> {
        let (mut scratch, mut out) = (b"scratch".to_vec(), b"before".to_vec());
        let echoed = echo(&CodecSet::own(), encoding, body, &mut scratch, &mut out);
        let written = out.strip_prefix(b"before").unwrap();
        let Echoed { head_len, payload, .. } =
            echoed.inspect_err(|_| assert!(written.is_empty()))?;
        Ok([&written[..head_len], &body[payload], &written[head_len..]].concat())
    }

    fn encoded(encoding: Encoding, array: &ArrayView<'_>) -> Vec<u8> {
        codec::message(CodecSet::own().get(encoding).unwrap(), array).unwrap()
    }

    #[test]
    fn binary_payloads_are_borrowed_from_the_request() {
        let array = NdArray::seeded(DType::F8, Shape::new(&[4]).unwrap(), 1).unwrap();
        for encoding in [Encoding::Protobuf, Encoding::Msgpack, Encoding::Npy] {
            let body = encoded(encoding, &array.view());
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let echoed = echo(&CodecSet::own(), encoding, &body, &mut scratch, &mut out).unwrap();
            assert_eq!(echoed.payload.len(), 32);
            assert_eq!(body[echoed.payload], *array.view().data());
            assert!(scratch.is_empty() && out.len() < body.len());
        }
    }

    #[test]
    fn a_shared_body_is_answered_like_a_slice_and_stays_in_its_pool() {
        let array = NdArray::seeded(DType::F8, Shape::new(&[100]).unwrap(), 1).unwrap();
        let pool = Pool::default();
        for codec in codec::implementations() {
            let codecs = CodecSet::none().with(codec.id());
            let whole = codec::message(codec, &array.view()).unwrap();
            for body in [&whole[..], &whole[..whole.len() - 9]] {
                let (mut scratch, mut want) = (Vec::new(), b"before".to_vec());
                let echoed = echo(&codecs, codec.encoding(), body, &mut scratch, &mut want);
                let mut got = b"before".to_vec();
                let mut shared = Slice::from(pool.adopt(body.to_vec()));
                let again =
                    echo_shared(&codecs, codec.encoding(), &mut shared, &mut scratch, &mut got);
                assert_eq!((again, got), (echoed, want), "{codec:?}");
                drop(shared);
                assert!(pool.idle_bytes() >= body.len(), "{codec:?}");
                pool.take(0);
            }
        }
    }

    #[test]
    fn either_json_form_is_answered_alike() {
        let bodies = [
            (Encoding::Json, r#"{"data": [1.0], "dtype": "<f8"}"#),
            (Encoding::JsonBinary, r#"{"buffer": "AAAAAAAA8D8=", "dtype": "<f8", "shape": [1]}"#),
        ];
        for (form, body) in bodies {
            for asked in [Encoding::Json, Encoding::JsonBinary] {
                assert_eq!(reply(asked, body.as_bytes()).unwrap(), body.as_bytes());
                let (mut scratch, mut out) = (Vec::new(), Vec::new());
                let echoed = echo(&CodecSet::own(), asked, body.as_bytes(), &mut scratch, &mut out);
                assert_eq!(echoed.unwrap().encoding, form);
            }
        }
    }

    #[test]
    fn reflect_sends_the_whole_body_back() {
        assert_eq!(reply(Encoding::Reflect, b"anything"), Ok(b"anything".to_vec()));
        assert_eq!(reply(Encoding::Reflect, b""), Ok(Vec::new()));
    }

    #[test]
    fn without_codecs_every_message_comes_back_as_it_is() {
        for encoding in Encoding::ALL {
            // A JSON text needs a key that says which of the two forms it is.
            let body = br#"{"data": what, "shape" "buffer": x"#;
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let echoed = echo(&CodecSet::none(), encoding, body, &mut scratch, &mut out);
            assert_eq!(echoed.map(|echoed| echoed.payload), Ok(0..body.len()), "{encoding:?}");
            assert!(out.is_empty());
        }
    }

    #[test]
    fn a_transposed_file_is_copied_behind_its_head() {
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2)}";
        let len = (header.len() as u16).to_le_bytes();
        let body = [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), &[1, 2, 3, 4]].concat();
        let array = [1, 3, 2, 4];
        let view =
            ArrayView::new(DType::parse("|u1").unwrap(), Shape::new(&[2, 2]).unwrap(), &array);
        assert_eq!(reply(Encoding::Npy, &body).unwrap(), encoded(Encoding::Npy, &view.unwrap()));
    }

    #[test]
    fn a_refused_request_leaves_nothing_behind() {
        for encoding in Encoding::ALL.into_iter().filter(|&e| e != Encoding::Reflect) {
            assert!(reply(encoding, b"\x93nonsense").is_err());
        }
    }

    #[test]
    fn scratch_stays_while_it_is_needed_and_goes_when_it_is_not() {
        let mut spared = 0;
        let mut buffer = Vec::with_capacity(SCRATCH_BYTES_MAX);
        for _ in 0..2 * SPARED_MAX {
            buffer.resize(SCRATCH_BYTES_MAX / 4, 0);
            trim(&mut buffer, &mut spared);
            assert_eq!(buffer.capacity(), SCRATCH_BYTES_MAX);
        }
        for _ in 1..SPARED_MAX {
            buffer.clear();
            trim(&mut buffer, &mut spared);
            assert_eq!(buffer.capacity(), SCRATCH_BYTES_MAX);
        }
        trim(&mut buffer, &mut spared);
        assert_eq!(buffer.capacity(), 0);
        let mut small = Vec::with_capacity(SCRATCH_BYTES_KEPT);
        (0..2 * SPARED_MAX).for_each(|_| trim(&mut small, &mut spared));
        assert_eq!(small.capacity(), SCRATCH_BYTES_KEPT);
        let mut large = vec![0; SCRATCH_BYTES_MAX + 1];
        trim(&mut large, &mut spared);
        assert_eq!(large.capacity(), 0);
    }
}
