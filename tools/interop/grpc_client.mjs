// Tests a server of the contract with @grpc/grpc-js: node grpc_client.mjs HOST:PORT PROTO MODULES
// MODULES is a folder in which `npm ci` has installed @grpc/grpc-js and @grpc/proto-loader.
// Prints one line for each passed check. The first failed check ends the program with status 1.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [target, proto, modules] = process.argv.slice(2);
const require = createRequire(resolve(modules, "package.json"));
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const LARGE_BYTES = 64 << 20;
const UNLIMITED = { "grpc.max_send_message_length": -1, "grpc.max_receive_message_length": -1 };
const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
const { Calculator } = grpc.loadPackageDefinition(protoLoader.loadSync(proto, options));
const client = new Calculator(target, grpc.credentials.createInsecure(), UNLIMITED);

const echo = (message) =>
  new Promise((done, failed) => {
    const deadline = Date.now() + 120_000;
    client.Echo(message, { deadline }, (error, reply) => (error ? failed(error) : done(reply)));
  });

const product = (shape) => shape.reduce((count, dim) => count * dim, 1);

// Returns an array whose bytes depend on `seed`. A boolean is 0 or 1.
function array(dtype, shape, seed) {
  const buffer = Buffer.alloc(product(shape) * Number(dtype.slice(2)));
  for (let at = 0; at < buffer.length; at++) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    buffer[at] = dtype === "|b1" ? (seed >>> 16) & 1 : seed >>> 16;
  }
  return { buffer, dtype, shape };
}

async function same(message) {
  const { buffer, dtype, shape } = await echo(message);
  assert.equal(dtype, message.dtype);
  assert.deepEqual(shape.map(Number), message.shape);
  assert.ok(buffer.equals(message.buffer), `the ${buffer.length} bytes of ${dtype} [${shape}] differ`);
}

async function refused(message, code, word) {
  const error = await echo(message).then(
    () => assert.fail(`accepted: ${message.dtype} [${message.shape}]`),
    (error) => error,
  );
  assert.equal(error.code, code, error.message);
  assert.ok(error.details.includes(word), error.details);
}

const kinds = ["i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"];
const dtypes = ["|b1", "|i1", "|u1", ...kinds.flatMap((kind) => [`<${kind}`, `>${kind}`])];
const shapes = [[], [0], [3], [2, 0, 3], [4, 1, 2], [1000]];
for (const [place, dtype] of dtypes.entries()) {
  for (const shape of shapes) await same(array(dtype, shape, place + 1));
}
console.log(`grpc-js: ${dtypes.length * shapes.length} arrays, every dtype`);

const numbers = [NaN, Infinity, -0, 5e-324, 1 / 3];
const doubles = Buffer.alloc(8 * numbers.length);
numbers.forEach((number, at) => doubles.writeDoubleLE(number, 8 * at));
await same({ buffer: doubles, dtype: "<f8", shape: [numbers.length] });

await Promise.all(Array.from({ length: 500 }, (_, call) => same(array("<f8", [256], call + 1))));
console.log("grpc-js: 500 parallel calls of 2 KiB on one channel");

await same(array("<f8", [LARGE_BYTES / 8], 7));
console.log(`grpc-js: ${LARGE_BYTES >> 20} MiB`);

const { INVALID_ARGUMENT } = grpc.status;
await refused({ buffer: Buffer.alloc(7), dtype: "<f8", shape: [1] }, INVALID_ARGUMENT, "8");
await refused({ buffer: Buffer.alloc(8), dtype: "|O", shape: [1] }, INVALID_ARGUMENT, "|O");
const overflow = { buffer: Buffer.alloc(0), dtype: "<f8", shape: [2 ** 32, 2 ** 32] };
await refused(overflow, INVALID_ARGUMENT, "overflow");
await same(array("<f8", [1], 9));
console.log("grpc-js: refusals carry their status and a reason, and the next call is answered");
client.close();
