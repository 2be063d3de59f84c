// Echo of each message: an array is decoded from it, checked, and encoded into a new message.
import { checkRank, dtypeOf, fromBytes, Refused, toBytes } from "../array.mjs";
import * as half from "./half.mjs";

/** Returns the reply to a JSON message of either form. `text` is the message before `JSON.parse`. */
export function echoJson(message, text) {
  const isObject = typeof message === "object" && message !== null;
  const hasData = isObject && Object.hasOwn(message, "data");
  if (!isObject || hasData === Object.hasOwn(message, "buffer")) {
    throw new Refused('expected an object with either "data" or "buffer"');
  }
  return hasData ? toList(fromList(message, text)) : toBase64(fromBase64(message));
}

export function echoNpy(body) {
  return toNpy(fromNpy(body));
}

function fromBase64({ buffer, dtype, shape }) {
  if (typeof buffer !== "string") throw new Refused('"buffer" is not a string');
  const bytes = Buffer.from(buffer, "base64");
  const array = fromBytes(bytes, dtype, shape);
  // Buffer.from skips letters that are not base64.
  if (bytes.toString("base64") !== buffer) throw new Refused('"buffer" is not base64 with padding');
  return array;
}

function toBase64(array) {
  return { buffer: toBytes(array).toString("base64"), dtype: array.dtype.name, shape: array.shape };
}

const BIGINTS = new Set(["i8", "u8"]);

function fromList({ data: list, dtype: name }, text) {
  const dtype = dtypeOf(name);
  if (dtype.kind === "c") throw new Refused(`dtype ${name} has no form as a list of numbers`);
  const shape = [];
  for (let part = list; Array.isArray(part); part = part[0]) shape.push(part.length);
  checkRank(shape.length);
  const items = flatten(list, shape);
  if (BIGINTS.has(dtype.code)) return { dtype, shape, data: bigints(items, dtype, text, shape) };
  const data = new dtype.Type(items.length);
  for (let at = 0; at < items.length; at++) {
    const item = items[at];
    if (dtype.code === "f2" && typeof item === "number") data[at] = half.fromNumber(item);
    else data[at] = item;
    if (!isItem(item, data[at], dtype.kind)) throw misfit(item, dtype);
  }
  if (dtype.kind === "f") checkFloats(data, dtype);
  return { dtype, shape, data };
}

/** Returns true if `item` of a list became `stored` without a conversion from another type. */
function isItem(item, stored, kind) {
  if (kind === "f") return typeof item === "number";
  if (kind === "b") return typeof item === "boolean";
  return stored === item;
}

function misfit(item, dtype) {
  return new Refused(`${JSON.stringify(item)} in a list for dtype ${dtype.name}`);
}

/** Refuses floats that `JSON.stringify` writes as another value: infinities as null, and -0 as 0. */
function checkFloats(data, { code, name }) {
  for (let at = 0; at < data.length; at++) {
    const value = code === "f2" ? half.toNumber(data[at]) : data[at];
    if (!Number.isFinite(value)) throw new Refused(`a number is too large for dtype ${name}`);
    if (Object.is(value, -0)) throw new Refused("-0.0 is not supported: JSON.stringify writes it as 0");
  }
}

/** Returns the items of a nested list, whose parts must have the lengths in `shape`. */
function flatten(list, shape) {
  if (shape.length === 0) return [list];
  let lists = [list];
  for (const length of shape) {
    for (const part of lists) {
      if (!Array.isArray(part) || part.length !== length) throw new Refused("lists of different lengths");
    }
    lists = lists.length === 1 ? lists[0] : lists.flat();
  }
  return lists;
}

/** Returns the integers of a list. `JSON.parse` has rounded those beyond 2^53, which are read again from the text. */
function bigints(items, dtype, text, shape) {
  for (const item of items) if (!Number.isInteger(item)) throw misfit(item, dtype);
  if (!items.every(Number.isSafeInteger)) items = flatten(JSON.parse(withQuotedNumbers(text)).data, shape);
  const data = new dtype.Type(items.length);
  for (let at = 0; at < items.length; at++) {
    const item = exactInteger(items[at]);
    data[at] = item; // keeps the lowest 64 bits
    if (data[at] !== item) throw new Refused(`${item} in a list for dtype ${dtype.name}`);
  }
  return data;
}

const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

/** Returns a JSON text whose numbers are strings. */
function withQuotedNumbers(text) {
  return text.replace(STRING_OR_NUMBER, (token) => (token[0] === '"' ? token : `"${token}"`));
}

/** Returns the integer of a number, or of the text of one. */
function exactInteger(item) {
  if (typeof item === "number" || /^-?\d+$/.test(item)) return BigInt(item);
  const value = Number(item); // 1e3 or 1.0
  if (!Number.isSafeInteger(value)) throw new Refused(`${item}: a float beyond 2^53 in an array of integers`);
  return BigInt(value);
}

/** Returns an object for the serializer of Fastify, or bytes if the list has integers of 64 bits. */
function toList({ dtype, shape, data }) {
  if (BIGINTS.has(dtype.code)) return Buffer.from(`{"data":${bigintText(data, shape)},"dtype":"${dtype.name}"}`);
  let items = Array.from(data);
  if (dtype.code === "f2") items = items.map(half.toNumber);
  if (dtype.kind === "b") items = items.map(Boolean);
  return { data: nest(items, shape), dtype: dtype.name };
}

function nest(items, shape) {
  if (shape.length === 0) return items[0];
  for (let depth = shape.length - 1; depth > 0; depth--) {
    const length = shape[depth];
    const count = shape.slice(0, depth).reduce((product, dim) => product * dim, 1);
    const parts = items;
    items = Array.from({ length: count }, (_, at) => parts.slice(at * length, (at + 1) * length));
  }
  return items;
}

function bigintText(data, shape) {
  if (shape.length <= 1) return shape.length === 0 ? String(data[0]) : `[${data.join(",")}]`;
  const step = data.length / shape[0];
  const part = (_, at) => bigintText(data.subarray(at * step, (at + 1) * step), shape.slice(1));
  return `[${Array.from({ length: shape[0] }, part).join(",")}]`;
}

const MAGIC = Buffer.from("\x93NUMPY", "latin1");
const MEMBER =
  /\s*(['"])(descr|fortran_order|shape)\1\s*:\s*(?:(['"])([^'"\\]*)\3|(True|False)|\(\s*((?:\d+L?\s*,\s*)*(?:\d+L?\s*)?)\))\s*(,|(?=\}))/y;
const GROWTH_DIGITS = 21; // room that NumPy leaves for the first dimension
const ALIGN = 64;

function fromNpy(body) {
  const major = body[6];
  const lengthBytes = major === 1 ? 2 : 4;
  const headerAt = 8 + lengthBytes;
  if (!body.subarray(0, 6).equals(MAGIC) || !(major >= 1 && major <= 3) || body[7] !== 0 || body.length < headerAt) {
    throw new Refused("expected a .npy file of format 1.0, 2.0 or 3.0");
  }
  const dataAt = headerAt + body.readUIntLE(8, lengthBytes);
  if (dataAt > body.length) throw new Refused("the header of the .npy file is truncated");
  const { descr, isFortran, shape } = readHeader(body.latin1Slice(headerAt, dataAt));
  const array = fromBytes(body.subarray(dataAt), descr, shape);
  return isFortran && shape.length > 1 ? toOrderC(array) : array;
}

/** Reads the literal of a Python dict with three known keys. */
function readHeader(text) {
  const found = new Map();
  let at = text.startsWith("{") ? 1 : text.length;
  for (;;) {
    MEMBER.lastIndex = at;
    const member = MEMBER.exec(text);
    if (member === null) break;
    found.set(member[2], member);
    at = MEMBER.lastIndex;
  }
  const descr = found.get("descr")?.[4];
  const order = found.get("fortran_order")?.[5];
  const tuple = found.get("shape")?.[6];
  const isOnlyNumber = tuple !== undefined && /^\d+L?\s*$/.test(tuple); // (3) is no tuple
  const isEnd = /^\s*\}\s*$/.test(text.slice(at));
  if (descr === undefined || order === undefined || tuple === undefined || isOnlyNumber || !isEnd) {
    throw new Refused("the header of the .npy file is not that of a plain array");
  }
  return { descr, isFortran: order === "True", shape: (tuple.match(/\d+/g) ?? []).map(Number) };
}

/** Returns the array whose first dimension varied fastest as one whose last dimension does. */
function toOrderC({ dtype, shape, data }) {
  const lanes = dtype.itemBytes / data.BYTES_PER_ELEMENT; // a complex number has two
  const ordered = new dtype.Type(data.length);
  const strides = [];
  let stride = lanes;
  for (const dim of shape) {
    strides.push(stride);
    stride *= dim;
  }
  let at = 0;
  const copy = (depth, from) => {
    if (depth === shape.length) {
      for (let lane = 0; lane < lanes; lane++) ordered[at++] = data[from + lane];
      return;
    }
    for (let index = 0; index < shape[depth]; index++) copy(depth + 1, from + index * strides[depth]);
  };
  if (data.length > 0) copy(0, 0);
  return { dtype, shape, data: ordered };
}

function toNpy(array) {
  const { dtype, shape } = array;
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  let text = `{'descr': '${dtype.name}', 'fortran_order': False, 'shape': (${tuple}), }`;
  if (shape.length > 0) text += " ".repeat(GROWTH_DIGITS - String(shape[0]).length);
  // NumPy pads by 1 to 64 bytes.
  const dataAt = MAGIC.length + 4 + text.length + 1 + ALIGN - ((MAGIC.length + 4 + text.length + 1) % ALIGN);
  const data = toBytes(array);
  const file = Buffer.allocUnsafe(dataAt + data.length);
  MAGIC.copy(file);
  file.writeUInt16BE(0x0100, 6);
  file.writeUInt16LE(dataAt - 10, 8);
  file.fill(" ", 10 + text.length, dataAt);
  file.latin1Write(text, 10);
  file[dataAt - 1] = 0x0a; // line feed
  data.copy(file, dataAt);
  return file;
}
