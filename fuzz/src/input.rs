//! Reading of inputs: the cuts between arrivals come first, then the bytes of the peer.

/// First bytes of an HTTP/2 client: the preface and empty SETTINGS.
pub(crate) const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Splits `data`: the first bytes hold the number of cuts and their lengths, the rest is the input.
pub(crate) fn cuts(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((&count, rest)) = data.split_first() else { return (&[], &[]) };
    rest.split_at(rest.len().min(usize::from(count % 16)))
}

/// Cuts `input` into pieces of these lengths, repeated. Without lengths it stays whole.
pub(crate) fn cut<'a>(lengths: &[u8], mut input: &'a [u8]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    let mut lengths = lengths.iter().map(|&length| usize::from(length).max(1)).cycle();
    while !input.is_empty() {
        let length = lengths.next().unwrap_or(input.len()).min(input.len());
        let (chunk, rest) = input.split_at(length);
        chunks.push(chunk);
        input = rest;
    }
    chunks
}

pub(crate) fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}
