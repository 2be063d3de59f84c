// Array of the contract as a typed array: `{ dtype, shape, data }`, checked by the functions of this module.
//
// A typed array has the byte order of the machine, which is little-endian wherever Node runs. Data of a big-endian
// dtype is swapped on the way in and on the way out. A complex number takes two items. Node 20 has no Float16Array, so
// that the data of f2 are the bits of each number.

const TYPES = {
  b1: Uint8Array, i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array,
  i8: BigInt64Array, u8: BigUint64Array, f2: Uint16Array, f4: Float32Array, f8: Float64Array, c8: Float32Array,
  c16: Float64Array,
};
const RANK_MAX = 64; // limit of NumPy

/** A message that is not an array of the contract. Its text goes to the client. */
export class Refused extends Error {
  statusCode = 400;
}

const DTYPES = new Map();
for (const [code, Type] of Object.entries(TYPES)) {
  const itemBytes = Number(code.slice(1));
  const add = (name, spellings) => {
    const dtype = { name, code, kind: code[0], itemBytes, Type, isSwapped: name[0] === ">" };
    for (const spelling of spellings) DTYPES.set(spelling + code, dtype);
  };
  if (itemBytes === 1) {
    add(`|${code}`, "|<>="); // one byte has no order
  } else {
    add(`<${code}`, "<="); // "=" is the order of the machine
    add(`>${code}`, ">");
  }
}

/** Returns the dtype called `name`, which can be any value of a message. */
export function dtypeOf(name) {
  const dtype = DTYPES.get(name);
  if (dtype === undefined) {
    throw new Refused(`dtype ${JSON.stringify(name)} is not supported: expected one like |b1, <i4, >u2, <f8 or <c16`);
  }
  return dtype;
}

/** Returns an array of `bytes`, which must be as many as dtype and shape need. */
export function fromBytes(bytes, name, shape) {
  const dtype = dtypeOf(name);
  checkSize(bytes.length, dtype, shape);
  return { dtype, shape, data: typed(bytes, dtype) };
}

/** Returns the bytes of an array, in the order of its dtype, without a copy if that is the machine's. */
export function toBytes({ dtype, data }) {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return dtype.isSwapped ? swap(Buffer.from(bytes), data.BYTES_PER_ELEMENT) : bytes;
}

function typed(bytes, { Type, isSwapped }) {
  const width = Type.BYTES_PER_ELEMENT;
  if (isSwapped) bytes = swap(Buffer.from(new Uint8Array(bytes).buffer), width);
  else if (bytes.byteOffset % width !== 0) bytes = new Uint8Array(bytes); // an aligned copy
  return new Type(bytes.buffer, bytes.byteOffset, bytes.length / width);
}

function swap(bytes, width) {
  return width === 2 ? bytes.swap16() : width === 4 ? bytes.swap32() : bytes.swap64();
}

function checkSize(byteLength, { itemBytes }, shape) {
  checkShape(shape);
  // A product from 2^53 on may be rounded, but it never becomes the length of a message.
  const partial = shape.reduce((product, dim) => (dim === 0 ? product : product * dim), itemBytes);
  if (partial >= 2 ** 63) throw new Refused("array size overflows 63 bits");
  const needed = shape.includes(0) ? 0 : partial;
  if (needed !== byteLength) {
    throw new Refused(`shape and dtype need ${needed} bytes of data, got ${byteLength}`);
  }
}

function checkShape(shape) {
  if (!Array.isArray(shape)) throw new Refused("shape: expected a list of integers, none negative");
  checkRank(shape.length);
  for (const dim of shape) {
    if (!Number.isInteger(dim) || dim < 0) {
      throw new Refused(`shape has ${JSON.stringify(dim)}: expected integers, none negative`);
    }
    // The number may have been rounded. Only an empty array could have such a dimension.
    if (dim > Number.MAX_SAFE_INTEGER) throw new Refused(`a dimension of ${dim}: array size overflows 53 bits`);
  }
}

export function checkRank(rank) {
  if (rank > RANK_MAX) throw new Refused(`array has ${rank} dimensions, at most ${RANK_MAX} are supported`);
}
