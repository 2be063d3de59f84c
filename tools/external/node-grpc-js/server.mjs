// Server over grpc-js: one process, one event loop. proto-loader reads the contract at the start.
import { fileURLToPath } from "node:url";
import { fromBytes, Refused, toBytes } from "../array.mjs";
import { endWith, load, MESSAGE_BYTES_MAX, port, ready } from "../serving.mjs";

const grpc = load("@grpc/grpc-js");
const protoLoader = load("@grpc/proto-loader");

const proto = fileURLToPath(new URL("../../../proto/ndecho.proto", import.meta.url));
// The options of the documentation. A dimension is therefore a string.
const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
const { Calculator } = grpc.loadPackageDefinition(protoLoader.loadSync(proto, options));

function echo(call, callback) {
  let reply;
  try {
    const { buffer, dtype, shape } = call.request;
    const array = fromBytes(buffer, dtype, shape.map(Number));
    reply = { buffer: toBytes(array), dtype: array.dtype.name, shape: array.shape };
  } catch (error) {
    const code = error instanceof Refused ? grpc.status.INVALID_ARGUMENT : grpc.status.INTERNAL;
    callback({ code, details: error.message });
    return;
  }
  callback(null, reply);
}

const server = new grpc.Server({
  "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
});
server.addService(Calculator.service, { Echo: echo });
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
  if (error) throw error;
  ready(bound);
});
endWith(() => new Promise((resolve) => server.tryShutdown(resolve)));
