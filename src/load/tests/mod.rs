//! Tests that reach into the room.

use super::message::Message;

mod client;
mod message;
mod verify;

fn whole(message: &Message, request: u64) -> Vec<u8> {
    let (form, mut bytes) = (&message.form, Vec::new());
    form.stamp(&message.nonce, request, &mut bytes);
    bytes.extend_from_slice(&form.bytes[form.stamped_len..]);
    bytes
}
