// Client for Node and browsers: sends a typed array as base64 in JSON and returns the reply as one.
import { bytesOf, dtypeOf, TYPES } from "./ndecho.mjs";

const PIECE = 0x8000; // a call takes only so many arguments

function encode(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) {
    text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  }
  return btoa(text);
}

const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

export async function echo(origin, { data, shape }) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ buffer: encode(bytesOf(data)), dtype: dtypeOf(data), shape });
  const reply = await fetch(`${origin}/echo_json`, { method: "POST", headers, body });
  if (!reply.ok) throw new Error(`${reply.status}: ${await reply.text()}`);
  const got = await reply.json();
  return { data: new TYPES[got.dtype](decode(got.buffer).buffer), shape: got.shape };
}
