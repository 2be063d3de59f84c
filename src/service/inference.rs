//! Questions of the Open Inference Protocol about the server and its model, with fixed answers over
//! gRPC and HTTP/1.1.
//!
//! The inference itself is the echo of [`crate::codec::kserve`]. The model takes tensors of every
//! datatype and shape, so its metadata name no datatype and one dimension of any length.

use crate::codec::kserve::{MODEL, VERSION, read_model};
use crate::wire::{Refusal, Refused};

/// Method of `GRPCInferenceService` that is not the inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    ServerLive,
    ServerReady,
    ModelReady,
    ModelMetadata,
}

/// `true` as field 1 of a response.
const YES: &[u8] = &[0x08, 0x01];

/// A response whose field 1 is `false`.
const NO: &[u8] = &[];

/// `ModelMetadataResponse` with name, version, platform `ndecho`, and a tensor each way.
const METADATA: &[u8] = b"\x0a\x04echo\x12\x011\x1a\x06ndecho\
    \x22\x13\x0a\x05input\x1a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\
    \x2a\x14\x0a\x06output\x1a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";

const METADATA_JSON: &str = r#"{"name":"echo","versions":["1"],"platform":"ndecho","inputs":[{"name":"input","datatype":"","shape":[-1]}],"outputs":[{"name":"output","datatype":"","shape":[-1]}]}"#;

impl Question {
    pub const ALL: [Question; 4] = [
        Question::ServerLive,
        Question::ServerReady,
        Question::ModelReady,
        Question::ModelMetadata,
    ];

    pub const fn grpc_path(self) -> &'static str {
        match self {
            Question::ServerLive => "/inference.GRPCInferenceService/ServerLive",
            Question::ServerReady => "/inference.GRPCInferenceService/ServerReady",
            Question::ModelReady => "/inference.GRPCInferenceService/ModelReady",
            Question::ModelMetadata => "/inference.GRPCInferenceService/ModelMetadata",
        }
    }

    pub fn from_grpc_path(path: &[u8]) -> Option<Question> {
        Question::ALL.into_iter().find(|question| question.grpc_path().as_bytes() == path)
    }

    /// Returns the path of a GET request over HTTP/1.1.
    pub const fn rest_path(self) -> &'static str {
        match self {
            Question::ServerLive => "/v2/health/live",
            Question::ServerReady => "/v2/health/ready",
            Question::ModelReady => "/v2/models/echo/ready",
            Question::ModelMetadata => "/v2/models/echo",
        }
    }

    pub fn from_rest_path(path: &[u8]) -> Option<Question> {
        Question::ALL.into_iter().find(|question| question.rest_path().as_bytes() == path)
    }

    /// Answers a request over HTTP/1.1 in JSON. Clients take the status for the answer, so a server
    /// that shuts down refuses to say that it is ready.
    pub fn rest(self, is_ready: bool) -> Result<&'static str, Refused> {
        match self {
            Question::ServerLive => Ok(r#"{"live":true}"#),
            Question::ModelMetadata => Ok(METADATA_JSON),
            _ if !is_ready => Err(Refused::new(Refusal::Unavailable, "the server shuts down")),
            Question::ServerReady => Ok(r#"{"ready":true}"#),
            Question::ModelReady => Ok(r#"{"name":"echo","ready":true}"#),
        }
    }

    /// Answers a request, given as protobuf. A server that shuts down is live and not ready.
    pub fn grpc(self, request: &[u8], is_ready: bool) -> Result<&'static [u8], Refused> {
        match self {
            Question::ServerLive => return Ok(YES),
            Question::ServerReady => {}
            Question::ModelReady | Question::ModelMetadata => {
                let read = read_model(request);
                let (name, version) =
                    read.map_err(|error| Refused::new(Refusal::BadRequest, error.to_string()))?;
                check_model(name, version)?;
            }
        }
        Ok(match self {
            Question::ModelMetadata => METADATA,
            _ if is_ready => YES,
            _ => NO,
        })
    }
}

/// Refuses any model but ours.
fn check_model(name: &[u8], version: &[u8]) -> Result<(), Refused> {
    let is_version = version.is_empty() || version == VERSION.as_bytes();
    if name == MODEL.as_bytes() && is_version {
        return Ok(());
    }
    let [name, version] = [name, version].map(String::from_utf8_lossy);
    let text = format!("no model {name:?} in version {version:?}; try {MODEL:?} in {VERSION:?}");
    Err(Refused::new(Refusal::NoSuchResource, text))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::generated_inference::model_metadata_response::TensorMetadata;
    use crate::generated_inference::{
        ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveResponse,
    };

    #[test]
    fn answers_are_the_messages_of_the_protocol() {
        let live = ServerLiveResponse::decode(Question::ServerLive.grpc(b"", false).unwrap());
        assert_eq!(live, Ok(ServerLiveResponse { live: true }));
        let request = ModelReadyRequest { name: "echo".into(), version: "1".into() };
        let request = request.encode_to_vec();
        for ready in [true, false] {
            let answer = Question::ModelReady.grpc(&request, ready).unwrap();
            assert_eq!(ModelReadyResponse::decode(answer), Ok(ModelReadyResponse { ready }));
        }
        let tensor = |name: &str| {
            vec![TensorMetadata { name: name.into(), datatype: String::new(), shape: vec![-1] }]
        };
        let want = ModelMetadataResponse {
            name: "echo".into(),
            versions: vec!["1".into()],
            platform: "ndecho".into(),
            inputs: tensor("input"),
            outputs: tensor("output"),
        };
        let answer = Question::ModelMetadata.grpc(&request, true).unwrap();
        assert_eq!(ModelMetadataResponse::decode(answer), Ok(want));
    }

    #[test]
    fn another_model_is_not_found() {
        for (name, version) in [("echo", "2"), ("other", ""), ("", "")] {
            let request = ModelReadyRequest { name: name.into(), version: version.into() };
            for question in [Question::ModelReady, Question::ModelMetadata] {
                let refused = question.grpc(&request.encode_to_vec(), true).unwrap_err();
                assert_eq!(refused.kind, Refusal::NoSuchResource);
            }
        }
        let refused = Question::ModelReady.grpc(b"\x08\x01", true).unwrap_err();
        assert_eq!(refused.kind, Refusal::BadRequest);
    }
}
