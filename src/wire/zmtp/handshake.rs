//! Greeting and commands of the mechanism NULL.
//!
//! ```text
//! greeting  FF 00*8 7F | version, 2 bytes | mechanism, 20 bytes | as-server | 31 zeros
//! READY     05 "READY", then properties: name (1 byte of length), value (4 bytes of length, be)
//! ```

use crate::wire::WireError;

use super::{frame, protocol_error};

pub(super) const GREETING_BYTES: usize = 64;

/// Version that we announce: 3.1 adds PING, which is answered.
const VERSION: [u8; 2] = [3, 1];
const VERSION_AT: usize = 10;
const MECHANISM_AT: usize = 12;
const AS_SERVER_AT: usize = 32;
const NULL: &[u8; AS_SERVER_AT - MECHANISM_AT] = b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Types of sockets that answer a socket of type REQ (RFC 28).
const ANSWERING: [&[u8]; 2] = [b"REP", b"ROUTER"];

const READY: &[u8] = b"\x05READY";
const ERROR: &[u8] = b"\x05ERROR";
const PING: &[u8] = b"\x04PING";
const PONG: &[u8] = b"\x04PONG";

/// Bytes of the time to live in a PING, before the context that a PONG returns.
const TTL_BYTES: usize = 2;

/// Longest context of a PING (RFC 37).
const CONTEXT_BYTES_MAX: usize = 16;

const SOCKET_TYPE: &[u8] = b"Socket-Type";

const IS_IT_ZEROMQ: &str = "is it a ZeroMQ server with a REP or ROUTER socket and no encryption?";

pub(super) fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    (greeting[0], greeting[9]) = (0xFF, 0x7F);
    greeting[VERSION_AT..MECHANISM_AT].copy_from_slice(&VERSION);
    greeting[MECHANISM_AT..AS_SERVER_AT].copy_from_slice(NULL);
    greeting
}

/// Checks as much of a peer's greeting as has come, so that a peer of another protocol is noticed
/// even if it waits for us.
pub(super) fn check_greeting(bytes: &[u8]) -> Result<(), WireError> {
    let at = |place: usize| bytes.get(place).copied();
    let refuse = |what: String| Err(protocol_error(format!("{what}; {IS_IT_ZEROMQ}")));
    if at(0).is_some_and(|byte| byte != 0xFF) || at(9).is_some_and(|byte| byte != 0x7F) {
        let shown = bytes.iter().take(16).copied().collect::<Vec<u8>>();
        let shown = shown.escape_ascii();
        return refuse(format!("the greeting begins with \"{shown}\", expected 0xff ... 0x7f"));
    }
    if let Some(major) = at(VERSION_AT).filter(|major| *major < VERSION[0]) {
        return refuse(format!("the peer speaks ZMTP {major}, expected 3.0 or later"));
    }
    match bytes.get(MECHANISM_AT..AS_SERVER_AT) {
        Some(mechanism) if mechanism != NULL => {
            let name = mechanism.split(|byte| *byte == 0).next().unwrap_or_default();
            let name = name.escape_ascii();
            refuse(format!("the peer wants the security mechanism \"{name}\", expected NULL"))
        }
        _ => Ok(()),
    }
}

pub(super) fn put_ready(out: &mut Vec<u8>) {
    let mut body = READY.to_vec();
    for (name, value) in [(SOCKET_TYPE, &b"REQ"[..]), (b"Identity", b"")] {
        body.push(name.len() as u8);
        body.extend_from_slice(name);
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    }
    frame::put_command(&body, out);
}

/// Checks the command that ends a handshake: READY of a socket that answers.
pub(super) fn check_ready(body: &[u8]) -> Result<(), WireError> {
    let Some(properties) = body.strip_prefix(READY) else {
        check_error(body)?;
        return Err(protocol_error(format!("a command came before READY; {IS_IT_ZEROMQ}")));
    };
    let socket_type = find(properties, SOCKET_TYPE).ok_or_else(|| {
        protocol_error("the properties of READY have no valid Socket-Type".to_owned())
    })?;
    if ANSWERING.contains(&socket_type) {
        return Ok(());
    }
    let found = socket_type.escape_ascii();
    Err(protocol_error(format!(
        "the peer's socket has the type \"{found}\", which does not answer requests; expected REP \
         or ROUTER"
    )))
}

/// Finds the value of a property, whose name has no case; `None` also for a broken list.
fn find<'a>(mut properties: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut found = None;
    while let Some((&name_len, rest)) = properties.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
        let (value_len, rest) = rest.split_first_chunk()?;
        let value_len = usize::try_from(u32::from_be_bytes(*value_len)).ok()?;
        let (value, rest) = rest.split_at_checked(value_len)?;
        if name.eq_ignore_ascii_case(wanted) {
            found = Some(value);
        }
        properties = rest;
    }
    found
}

fn check_error(body: &[u8]) -> Result<(), WireError> {
    let Some(reason) = body.strip_prefix(ERROR) else { return Ok(()) };
    let reason = reason.get(1..).unwrap_or_default().escape_ascii();
    Err(protocol_error(format!("the peer refused the connection: \"{reason}\"")))
}

/// Answers a command between messages: a PING by a PONG. Another command is an error.
pub(super) fn answer(body: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
    if let Some(rest) = body.strip_prefix(PING) {
        let context = rest.get(TTL_BYTES..).filter(|it| it.len() <= CONTEXT_BYTES_MAX);
        let context = context.ok_or_else(|| protocol_error("a malformed PING".to_owned()))?;
        frame::put_command(&[PONG, context].concat(), out);
        return Ok(());
    }
    check_error(body)?;
    let name = body.get(1..).unwrap_or_default();
    let name =
        name[..name.len().min(usize::from(body.first().copied().unwrap_or(0)))].escape_ascii();
    Err(protocol_error(format!("an unexpected command \"{name}\" after the handshake")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(result: Result<(), WireError>) -> String {
        result.expect_err("it is refused").to_string()
    }

    #[test]
    fn a_greeting_is_accepted_at_every_length() {
        let ours = greeting();
        for len in 0..=GREETING_BYTES {
            assert_eq!(check_greeting(&ours[..len]), Ok(()));
        }
        let mut newer = ours;
        (newer[VERSION_AT], newer[AS_SERVER_AT]) = (4, 1);
        assert_eq!(check_greeting(&newer), Ok(()));
    }

    #[test]
    fn a_peer_of_another_protocol_is_named() {
        let http = error(check_greeting(b"HTTP/1.1 400 Bad Request\r\n"));
        assert!(
            http.contains("begins with \"HTTP/1.1 400 Bad\"") && http.contains("REP"),
            "{http}"
        );
        let mut old = greeting();
        old[VERSION_AT] = 1;
        assert!(error(check_greeting(&old)).contains("speaks ZMTP 1"));
        let mut curve = greeting();
        curve[MECHANISM_AT..MECHANISM_AT + 5].copy_from_slice(b"CURVE");
        assert!(error(check_greeting(&curve)).contains("mechanism \"CURVE\", expected NULL"));
    }

    #[test]
    fn ready_names_the_type_of_the_socket() {
        let mut own = Vec::new();
        put_ready(&mut own);
        assert_eq!(own, b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x03REQ\x08Identity\0\0\0\0");
        let refused = error(check_ready(&own[2..]));
        assert!(refused.contains("type \"REQ\", which does not answer"), "{refused}");
        for good in
            ["\x05READY\x0bSocket-Type\0\0\0\x03REP", "\x05READY\x0bsocket-type\0\0\0\x06ROUTER"]
        {
            assert_eq!(check_ready(good.as_bytes()), Ok(()));
        }
        for bad in
            [&b"\x05READY"[..], b"\x05READY\x0bSocket-Type\xff\xff\xff\xffREP", b"\x05READY\xff"]
        {
            assert!(error(check_ready(bad)).contains("no valid Socket-Type"));
        }
        assert!(error(check_ready(b"\x04PING")).contains("before READY"));
        let refused = error(check_ready(b"\x05ERROR\x07go away"));
        assert!(refused.contains("refused the connection: \"go away\""), "{refused}");
    }

    #[test]
    fn a_ping_is_answered_with_its_context() {
        let mut out = Vec::new();
        assert_eq!(answer(b"\x04PING\0\x0aabc", &mut out), Ok(()));
        assert_eq!(out, b"\x04\x08\x04PONGabc");
        assert!(error(answer(b"\x04PING\0", &mut out)).contains("malformed"));
        let long = [b"\x04PING\0\x0a", [b'x'; 17].as_slice()].concat();
        assert!(error(answer(&long, &mut out)).contains("malformed"));
        assert!(error(answer(b"\x04STOP", &mut out)).contains("command \"STOP\""));
        assert!(error(answer(b"", &mut out)).contains("command \"\""));
        assert!(error(answer(b"\x05ERROR\x02no", &mut out)).contains("\"no\""));
    }
}
