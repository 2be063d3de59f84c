// Client for Node and browsers: sends a typed array as a JSON list and returns the reply as one.
// JSON has no NaN and no infinities, JSON.stringify writes -0 as 0, and JSON.parse rounds integers
// beyond 2^53. If an array may hold them, use ndecho.mjs.
import { dtypeOf, TYPES } from "./ndecho.mjs";

function listOf(data, shape) {
  if (shape.length === 0) return data[0];
  if (shape.length === 1) return Array.from(data);
  const step = data.length / shape[0];
  const part = (_, index) => listOf(data.subarray(index * step, (index + 1) * step), shape.slice(1));
  return Array.from({ length: shape[0] }, part);
}

function shapeOf(list) {
  if (!Array.isArray(list)) return [];
  return [list.length, ...(list.length > 0 ? shapeOf(list[0]) : [])];
}

export async function echo(origin, { data, shape }) {
  if (!data.every(Number.isFinite)) throw new Error("JSON carries finite numbers only, and no BigInt");
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ data: listOf(data, shape), dtype: dtypeOf(data) });
  const reply = await fetch(`${origin}/echo_json`, { method: "POST", headers, body });
  if (!reply.ok) throw new Error(`${reply.status}: ${await reply.text()}`);
  const got = await reply.json();
  return { data: TYPES[got.dtype].from([got.data].flat(Infinity)), shape: shapeOf(got.data) };
}
