//! Routes of every stack: REST paths, the gRPC method and its content subtypes, raw codec ids.
//!
//! Each protocol writes a refusal, one line of text for the peer, in its own way.
//!
//! ```text
//! POST /echo_json | _msgpack | _npy | _protobuf[_packed] | _cbor | _safetensors | _kserve |
//!      _arrow | _reflect
//! POST /v2/models/echo/infer, with the length of the JSON in a field
//! GET /healthz, /v2/health/live, /v2/health/ready, /v2/models/echo/ready, /v2/models/echo
//! POST /Calculator/Echo, application/grpc[+proto|+json|+msgpack|+npy|+cbor|+safetensors|+packed|
//!                                         +kserve-http|+arrow|+reflect]
//! POST /inference.GRPCInferenceService/ModelInfer, application/grpc[+proto]
//! POST /inference.GRPCInferenceService/ServerLive | ServerReady | ModelReady | ModelMetadata
//! POST /grpc.health.v1.Health/Check, application/grpc[+proto]
//! raw frame, codec byte = Encoding::id
//! ```
//! `Encoding::Json` means both JSON forms here, and `Encoding::Kserve` an inference with raw or
//! typed contents: the body decides, and the response has its form.

use crate::axis::{Encoding, Family};
use crate::wire::handler::NO_CONTENT_CODING;
use crate::wire::{Head, Refusal, Refused, Response, grpc};

use super::echo::Echoed;
use super::health;
use super::inference::Question;

const NO_SERVER_OF_ZMTP: &str = "no server of this crate speaks ZMTP";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Echo(Encoding),
    /// [`health::BODY`], or the response of [`health::grpc`].
    Health,
    /// Response of [`Question::grpc`] or [`Question::rest`].
    Inference(Question),
}

impl Target {
    /// Returns whether the target is answered on a connection that has no place.
    pub fn is_free(self) -> bool {
        !matches!(self, Target::Echo(_))
    }
}

/// Finds the target of an HTTP/1.1 request; `path` has no query. The content type is not enforced,
/// because the clients of numpy_rpc_benchmark send their own.
pub fn rest(method: &[u8], path: &[u8]) -> Result<Target, Refused> {
    if path == health::PATH.as_bytes() {
        return read_only(method, Target::Health);
    }
    let Some(encoding) = Encoding::ALL.into_iter().find(|e| e.path().as_bytes() == path) else {
        if let Some(question) = Question::from_rest_path(path) {
            return read_only(method, Target::Inference(question));
        }
        let path = String::from_utf8_lossy(path);
        return Err(Refused::new(
            Refusal::NoSuchRoute,
            format!("no such path {path:?}; try POST /echo_msgpack"),
        ));
    };
    match method {
        b"POST" => Ok(Target::Echo(encoding)),
        _ => Err(method_refused(method, "POST")),
    }
}

fn read_only(method: &[u8], target: Target) -> Result<Target, Refused> {
    match method {
        b"GET" | b"HEAD" => Ok(target),
        _ => Err(method_refused(method, "GET, HEAD")),
    }
}

/// Finds the target of a gRPC request. [`Refusal::MethodNotAllowed`] is answered as plain HTTP, and
/// so is [`Refusal::UnsupportedMediaType`] if `content_type` is not gRPC's; others as a status.
pub fn grpc(method: &[u8], path: &[u8], content_type: &[u8]) -> Result<Target, Refused> {
    if method != b"POST" {
        return Err(method_refused(method, "POST"));
    }
    let subtype = grpc::subtype(content_type).ok_or_else(|| {
        let got = String::from_utf8_lossy(content_type);
        let text = format!("content type {got:?} is not application/grpc");
        Refused::new(Refusal::UnsupportedMediaType, text)
    })?;
    let subtype =
        if subtype.is_empty() { Encoding::Protobuf.grpc_subtype().as_bytes() } else { subtype };
    let served = |encoding: &Encoding| {
        encoding.grpc_subtype().as_bytes() == subtype && encoding.grpc_path().as_bytes() == path
    };
    if let Some(encoding) = Encoding::ALL.into_iter().find(served) {
        return Ok(Target::Echo(encoding));
    }
    match fixed(path) {
        Some(target) if subtype == Encoding::Protobuf.grpc_subtype().as_bytes() => Ok(target),
        target => Err(grpc_refused(path, subtype, target.is_some())),
    }
}

/// Finds the target of a method other than an echo.
fn fixed(path: &[u8]) -> Option<Target> {
    if path == health::GRPC_PATH.as_bytes() {
        return Some(Target::Health);
    }
    Question::from_grpc_path(path).map(Target::Inference)
}

/// Refuses an unknown method, or an unknown content subtype of a known one.
#[cold]
fn grpc_refused(path: &[u8], subtype: &[u8], is_fixed: bool) -> Refused {
    let mut known: Vec<&str> = Vec::new();
    if is_fixed {
        known.push(Encoding::Protobuf.grpc_subtype());
    }
    for encoding in Encoding::ALL.into_iter().filter(|e| e.grpc_path().as_bytes() == path) {
        if !known.contains(&encoding.grpc_subtype()) {
            known.push(encoding.grpc_subtype());
        }
    }
    if known.is_empty() {
        let (path, usual) = (String::from_utf8_lossy(path), Encoding::Protobuf.grpc_path());
        let text = format!("no such method {path:?}; try {usual}");
        return Refused::new(Refusal::NoSuchRoute, text);
    }
    let got = String::from_utf8_lossy(subtype);
    let text = format!("content subtype {got:?} is not one of {}", known.join(", "));
    Refused::new(Refusal::UnsupportedMediaType, text)
}

pub fn raw(codec_id: u8) -> Result<Encoding, Refused> {
    Encoding::from_id(codec_id).ok_or_else(|| {
        Refused::new(Refusal::UnsupportedMediaType, format!("no codec has id {codec_id}"))
    })
}

pub fn raw_content_type(encoding: Encoding) -> &'static str {
    const IDS: &str = "\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c";
    const { assert!(Encoding::ALL.len() <= IDS.len()) };
    let id = usize::from(encoding.id());
    &IDS[id..=id]
}

pub fn target(family: Family, head: &Head<'_>) -> Result<Target, Refused> {
    match family {
        Family::Raw => raw(head.content_type.first().copied().unwrap_or(u8::MAX)).map(Target::Echo),
        Family::Zmtp => Err(Refused::new(Refusal::UnsupportedMediaType, NO_SERVER_OF_ZMTP)),
        Family::Grpc => grpc(head.method, head.path, head.content_type),
        Family::Rest => match rest(head.method, head.path)? {
            Target::Echo(_) if !head.has_body => Err(length_refused()),
            target => Ok(target),
        },
    }
}

/// Makes the response of an echo, with the content type of the family.
#[inline(always)]
pub(super) fn response(family: Family, echoed: Echoed) -> Response {
    let Echoed { encoding, head_len, payload } = echoed;
    let content_type = match family {
        Family::Grpc => encoding.grpc_content_type(),
        Family::Rest | Family::Zmtp => encoding.content_type(),
        Family::Raw => raw_content_type(encoding),
    };
    Response { content_type, head_len, payload }
}

pub fn length_refused() -> Refused {
    let text = "the request has neither Content-Length nor Transfer-Encoding";
    Refused::new(Refusal::LengthRequired, text)
}

pub fn coding_refused() -> Refused {
    Refused::new(Refusal::UnsupportedMediaType, NO_CONTENT_CODING)
}

/// Refuses an echo on a connection that has no place and may only ask for health.
pub fn place_refused() -> Refused {
    Refused::new(Refusal::Unavailable, "all connections are in use")
}

fn method_refused(method: &[u8], allowed: &'static str) -> Refused {
    let method = String::from_utf8_lossy(method);
    let text = format!("method {method} is not allowed; use {allowed}");
    Refused::new(Refusal::MethodNotAllowed(allowed), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T, Refused>) -> Refusal {
        let Refused { kind, detail } = result.unwrap_err();
        assert!(!detail.is_empty() && !detail.contains('\n'), "{detail:?}");
        kind
    }

    #[test]
    fn every_rest_path_leads_to_its_encoding() {
        for encoding in Encoding::ALL {
            let Ok(Target::Echo(got)) = rest(b"POST", encoding.path().as_bytes()) else {
                panic!("{encoding:?} has no path");
            };
            assert_eq!(got.path(), encoding.path());
        }
        assert_eq!(rest(b"GET", b"/healthz"), Ok(Target::Health));
    }

    #[test]
    fn wrong_paths_and_methods_are_refused() {
        assert_eq!(refusal(rest(b"POST", b"/")), Refusal::NoSuchRoute);
        assert_eq!(refusal(rest(b"POST", b"/echo_json/")), Refusal::NoSuchRoute);
        assert_eq!(refusal(rest(b"GET", b"/echo_json")), Refusal::MethodNotAllowed("POST"));
        assert_eq!(refusal(rest(b"POST", b"/healthz")), Refusal::MethodNotAllowed("GET, HEAD"));
        assert_eq!(refusal(rest(b"POST", b"/\r\n\xff")), Refusal::NoSuchRoute);
    }

    #[test]
    fn every_grpc_content_type_leads_to_its_encoding() {
        for encoding in Encoding::ALL {
            let content_type = encoding.grpc_content_type();
            let path = encoding.grpc_path();
            let got = grpc(b"POST", path.as_bytes(), content_type.as_bytes());
            let Ok(Target::Echo(got)) = got else { panic!("{content_type}: {got:?}") };
            assert_eq!((got.grpc_content_type(), got.grpc_path()), (content_type, path));
        }
        for plain in ["application/grpc", "Application/GRPC", "application/grpc; a=b"] {
            let got = grpc(b"POST", b"/Calculator/Echo", plain.as_bytes());
            assert_eq!(got, Ok(Target::Echo(Encoding::Protobuf)));
        }
    }

    #[test]
    fn foreign_grpc_requests_are_refused() {
        let plain = b"application/grpc";
        assert_eq!(refusal(grpc(b"GET", b"/", b"")), Refusal::MethodNotAllowed("POST"));
        assert_eq!(refusal(grpc(b"POST", b"/calculator/echo", plain)), Refusal::NoSuchRoute);
        for foreign in ["", "application/json", "application/grpc-web", "application/grpc+thrift"] {
            let got = grpc(b"POST", b"/Calculator/Echo", foreign.as_bytes());
            assert_eq!(refusal(got), Refusal::UnsupportedMediaType);
        }
    }

    #[test]
    fn health_is_asked_in_protobuf() {
        let ask = |content_type| grpc(b"POST", health::GRPC_PATH.as_bytes(), content_type);
        assert_eq!(ask(b"application/grpc+proto"), Ok(Target::Health));
        assert_eq!(refusal(ask(b"application/grpc+json")), Refusal::UnsupportedMediaType);
    }

    #[test]
    fn the_inference_protocol_has_methods_of_its_own_in_protobuf() {
        let infer = Encoding::Kserve.grpc_path().as_bytes();
        let got = grpc(b"POST", infer, b"application/grpc");
        assert_eq!(got, Ok(Target::Echo(Encoding::Kserve)));
        for question in Question::ALL {
            let path = question.grpc_path().as_bytes();
            assert_eq!(grpc(b"POST", path, b"application/grpc"), Ok(Target::Inference(question)));
            let json = grpc(b"POST", path, b"application/grpc+json");
            assert_eq!(refusal(json), Refusal::UnsupportedMediaType);
        }
        let npy = grpc(b"POST", infer, b"application/grpc+npy");
        assert_eq!(refusal(npy), Refusal::UnsupportedMediaType);
        let other = b"/inference.GRPCInferenceService/RepositoryIndex";
        assert_eq!(refusal(grpc(b"POST", other, b"application/grpc")), Refusal::NoSuchRoute);
    }

    #[test]
    fn raw_codec_ids_are_a_closed_list() {
        for encoding in Encoding::ALL {
            assert_eq!(raw(encoding.id()), Ok(encoding));
            assert_eq!(raw_content_type(encoding).as_bytes(), [encoding.id()]);
        }
        assert_eq!(refusal(raw(0xFF)), Refusal::UnsupportedMediaType);
    }
}
