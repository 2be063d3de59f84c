//! Tests of the whole room.

use super::ArrayCodec;

mod bounds;
mod effort;

pub(super) fn decode(
    codec: &dyn ArrayCodec,
    body: &[u8],
) -> Result<(String, Vec<u64>, Vec<u8>), String> {
    let mut scratch = b"old".to_vec();
    let array = codec.decode(body, &mut scratch).map_err(|error| error.to_string())?;
    let dims = array.shape().dims().to_vec();
    Ok((array.dtype().name().to_owned(), dims, array.data().to_vec()))
}
