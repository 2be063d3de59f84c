//! Delays in front of the service of tonic and of its decoder: controls of attributed differences.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic_prost::{ProstDecoder, ProstEncoder};

use super::{Dispatch, Responding};
use crate::generated::{self, calculator_server::SERVICE_NAME};
use crate::probe::injected_delay::PlacedDelay;

/// Service with a delay in front of each call: a control.
#[derive(Clone, Debug)]
pub(super) struct Planted {
    pub(super) inner: Dispatch,
    pub(super) delay: PlacedDelay,
}

impl NamedService for Planted {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for Planted {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Responding {
        std::hint::black_box(self.delay.spend());
        self.inner.respond(request, None)
    }
}

/// Codec of the generated service, with a delay in front of its decoder: a control.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlantedCodec {
    pub(super) delay: PlacedDelay,
}

#[derive(Debug)]
pub(super) struct PlantedDecoder {
    inner: ProstDecoder<generated::NdArray>,
    delay: PlacedDelay,
}

impl Codec for PlantedCodec {
    type Encode = generated::NdArray;
    type Decode = generated::NdArray;
    type Encoder = ProstEncoder<generated::NdArray>;
    type Decoder = PlantedDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> PlantedDecoder {
        let inner = ProstDecoder::new(BufferSettings::default());
        PlantedDecoder { inner, delay: self.delay }
    }
}

impl Decoder for PlantedDecoder {
    type Item = generated::NdArray;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<generated::NdArray>, Status> {
        std::hint::black_box(self.delay.spend());
        self.inner.decode(from)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.inner.buffer_settings()
    }
}
