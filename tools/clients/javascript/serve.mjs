// Serves the page of this folder and forwards its requests to a server. The server sends no CORS
// headers, so a browser lets a page read a reply only if page and reply have the same origin.
//
//     node serve.mjs 127.0.0.1:50055 [PORT]
import { createReadStream } from "node:fs";
import http from "node:http";

const [host, serverPort] = process.argv[2].split(":");
const PAGE = "/index.html";
const TYPES = { [PAGE]: "text/html" };
for (const name of ["ndecho", "json", "base64"]) TYPES[`/${name}.mjs`] = "text/javascript";

const page = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://page");
  const file = pathname === "/" ? PAGE : pathname;
  if (Object.hasOwn(TYPES, file)) {
    response.setHeader("Content-Type", TYPES[file]);
    createReadStream(new URL(`.${file}`, import.meta.url)).pipe(response);
    return;
  }
  const { method, url: path, headers } = request;
  const forwarded = http.request({ host, port: serverPort, method, path, headers }, (reply) => {
    response.writeHead(reply.statusCode, reply.headers);
    reply.pipe(response);
  });
  forwarded.on("error", (error) => response.writeHead(502).end(`${error}\n`));
  request.pipe(forwarded);
});
page.listen(Number(process.argv[3] ?? 8080), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${page.address().port}/`);
});
