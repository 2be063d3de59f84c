//! Health of a server: `GET /healthz`, and `Check` of `grpc.health.v1` for every stack but tonic,
//! which has a crate for it.

use crate::wire::{Refusal, Refused};

pub const PATH: &str = "/healthz";
pub const BODY: &str = "ok\n";
pub const GRPC_PATH: &str = "/grpc.health.v1.Health/Check";
const SERVICE: &str = "Calculator";

/// `HealthCheckResponse { status: SERVING }`.
const SERVING: &[u8] = &[0x08, 0x01];

/// `HealthCheckResponse { status: NOT_SERVING }`.
const NOT_SERVING: &[u8] = &[0x08, 0x02];

/// First bytes of requests for health over HTTP/1.1.
pub const REST_PREFIXES: [&[u8]; 2] = [b"GET /healthz ", b"HEAD /healthz "];

/// Answers a request for [`PATH`].
pub fn rest(is_ready: bool) -> Result<&'static str, Refused> {
    match is_ready {
        true => Ok(BODY),
        false => Err(Refused::new(Refusal::Unavailable, "the server shuts down")),
    }
}

/// Answers a `HealthCheckRequest { service }`: the status of the server, if the service is ours or
/// none is named.
pub fn grpc(request: &[u8], is_ready: bool) -> Result<&'static [u8], Refused> {
    const SERVICE_TAG: u8 = 0x0A;
    let service = match request {
        [] => &[],
        [SERVICE_TAG, len, service @ ..] if usize::from(*len) == service.len() => service,
        _ => {
            let text = "not a HealthCheckRequest with a short name";
            return Err(Refused::new(Refusal::BadRequest, text));
        }
    };
    if service.is_empty() || service == SERVICE.as_bytes() {
        return Ok(if is_ready { SERVING } else { NOT_SERVING });
    }
    let got = String::from_utf8_lossy(service);
    Err(Refused::new(Refusal::NoSuchResource, format!("no such service {got:?}; try {SERVICE}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(request: &[u8]) -> Refusal {
        grpc(request, true).unwrap_err().kind
    }

    #[test]
    fn one_service_is_known() {
        for known in [&b""[..], b"\x0a\x00", b"\x0a\x0aCalculator"] {
            assert_eq!(grpc(known, true), Ok(SERVING));
            assert_eq!(grpc(known, false), Ok(NOT_SERVING));
        }
        assert_eq!(refusal(b"\x0a\x05Other"), Refusal::NoSuchResource);
        for bad in [&b"\x0a"[..], b"\x0a\x05abc", b"\x12\x01a", b"\x0a\x01ab"] {
            assert_eq!(refusal(bad), Refusal::BadRequest);
        }
    }
}
