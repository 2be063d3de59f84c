//! `GRPCInferenceService` in tonic, as generated code serves it: prost makes the messages. A reply
//! has the contents of the request's form, raw or typed.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};

use super::{Responding, status};
use crate::codec::kserve_typed_prost::infer;
use crate::generated_inference::grpc_inference_service_server::{
    GrpcInferenceService, SERVICE_NAME,
};
use crate::generated_inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse,
    ServerReadyRequest, ServerReadyResponse,
};
use crate::probe::injected_delay::InjectedDelay;
use crate::service::inference::Question;
use crate::stack::standalone::Shutdown;
use crate::wire::{Refusal, Refused, WorkerCounts};

#[derive(Clone, Debug)]
pub(super) struct Inference {
    pub(super) delay: InjectedDelay,
    pub(super) counts: &'static WorkerCounts,
    pub(super) shutdown: Shutdown,
}

impl Inference {
    /// Answers a question with the message that all stacks answer with.
    fn answer<T: prost::Message + Default>(
        &self,
        question: Question,
        request: &impl prost::Message,
    ) -> Result<Response<T>, Status> {
        self.counts.requests.add(1);
        let answer = question.grpc(&request.encode_to_vec(), self.shutdown.is_ready());
        let answer = answer.map_err(|refused| status(refused, self.counts))?;
        let read = T::decode(answer).map_err(|error| Status::internal(error.to_string()));
        read.map(Response::new)
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(
        &self,
        request: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        self.answer(Question::ServerLive, request.get_ref())
    }

    async fn server_ready(
        &self,
        request: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        self.answer(Question::ServerReady, request.get_ref())
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        self.answer(Question::ModelReady, request.get_ref())
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        self.answer(Question::ModelMetadata, request.get_ref())
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        self.counts.requests.add(1);
        self.delay.wait();
        let refused = |error: crate::codec::CodecError| {
            status(Refused::new(Refusal::BadRequest, error.to_string()), self.counts)
        };
        infer(request.into_inner()).map(Response::new).map_err(refused)
    }
}

/// Service under the name of the inference protocol.
#[derive(Clone, Debug)]
pub(super) struct Named<S>(pub(super) S);

impl<S> NamedService for Named<S> {
    const NAME: &'static str = SERVICE_NAME;
}

impl<S> Service<http::Request<Body>> for Named<S>
where
    S: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future = Responding,
        >,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Responding {
        self.0.call(request)
    }
}
