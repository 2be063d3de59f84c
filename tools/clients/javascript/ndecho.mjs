// Client for Node and browsers: sends a typed array as a .npy file and returns the reply as one.
// Typed arrays have the byte order of the machine, which is little-endian wherever Node runs.
export const TYPES = {
  "|i1": Int8Array, "|u1": Uint8Array, "<i2": Int16Array, "<u2": Uint16Array, "<i4": Int32Array,
  "<u4": Uint32Array, "<i8": BigInt64Array, "<u8": BigUint64Array, "<f4": Float32Array,
  "<f8": Float64Array,
};

export const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

export const dtypeOf = (data) => Object.keys(TYPES).find((dtype) => data instanceof TYPES[dtype]);

export function encode({ data, shape }) {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${dtypeOf(data)}', 'fortran_order': False, 'shape': (${tuple}), }`;
  const length = Math.ceil((text.length + 11) / 64) * 64 - 10;
  const head = new TextEncoder().encode(`?NUMPY\x01\0??${text.padEnd(length - 1)}\n`);
  head[0] = 0x93;
  new DataView(head.buffer).setUint16(8, length, true);
  return new Blob([head, bytesOf(data)]);
}

export function decode(file) {
  const end = 10 + new DataView(file).getUint16(8, true);
  const text = new TextDecoder().decode(file.slice(10, end));
  const [, dtype, tuple] = text.match(/'descr': '(.*?)'.*'shape': \((.*?)\)/);
  if (!(dtype in TYPES)) throw new Error(`no typed array has the dtype ${dtype}`);
  const shape = tuple.split(",").filter((dim) => dim.trim()).map(Number);
  return { data: new TYPES[dtype](file.slice(end)), shape };
}

export async function echo(origin, array) {
  const headers = { "Content-Type": "application/x-npy" };
  const body = encode(array);
  const reply = await fetch(`${origin}/echo_npy`, { method: "POST", headers, body });
  if (!reply.ok) throw new Error(`${reply.status}: ${await reply.text()}`);
  return decode(await reply.arrayBuffer());
}
