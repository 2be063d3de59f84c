// Server over Fastify: one process, one event loop.
import { echoJson, echoNpy } from "./codecs.mjs";
import { endWith, load, MESSAGE_BYTES_MAX, port, ready } from "../serving.mjs";

const fastify = load("fastify");

/** Reply to a JSON message. `data` has no type, because the depth of the list is that of the array. */
const JSON_REPLY = {
  type: "object",
  properties: {
    data: {},
    buffer: { type: "string" },
    dtype: { type: "string" },
    shape: { type: "array", items: { type: "integer" } },
  },
};

// Requests that arrive while the server closes are answered, as the contract has it.
const app = fastify({ bodyLimit: MESSAGE_BYTES_MAX, return503OnClosing: false });

app.setErrorHandler((error, request, reply) => {
  reply.code(error.statusCode ?? 500).type("text/plain; charset=utf-8").send(error.message);
});

app.get("/healthz", (request, reply) => {
  reply.send("ok\n");
});

/** Adds a path whose body is bytes, whatever the Content-Type of the request. */
function addBinary(path, contentType, echo) {
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser([contentType, "*"], { parseAs: "buffer" }, (request, body, done) => done(null, body));
    scope.post(path, (request, reply) => {
      reply.type(contentType).send(echo(request.body ?? Buffer.alloc(0)));
    });
  });
}

addBinary("/echo_npy", "application/x-npy", echoNpy);
addBinary("/echo_reflect", "application/octet-stream", (body) => body);

app.register(async (scope) => {
  const parse = scope.getDefaultJsonParser("error", "error");
  scope.decorateRequest("text", "");
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser(["application/json", "*"], { parseAs: "string" }, (request, text, done) => {
    request.text = text; // for integers that do not fit into a number
    parse(request, text, done);
  });
  scope.post("/echo_json", { schema: { response: { 200: JSON_REPLY } } }, (request, reply) => {
    reply.type("application/json").send(echoJson(request.body, request.text));
  });
});

await app.listen({ host: "127.0.0.1", port });
ready(app.server.address().port);
endWith(() => app.close());
