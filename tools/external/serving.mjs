// Shared parts of the Node servers: flags, installed modules, ready line and shutdown.
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

export const MESSAGE_BYTES_MAX = 192 * 1024 * 1024; // 64 MiB of doubles have about 165 MiB as a JSON list
const GRACE_MS = 5000; // for requests in flight, after the signal to end

const { values } = parseArgs({ options: { port: { type: "string", default: "0" }, modules: { type: "string" } } });

/** Port to listen on; 0 picks a free one. */
export const port = Number(values.port);

/** Loads a module from `node_modules` in the folder of `--modules`. */
export const load = createRequire(`${values.modules}/`);

/** Prints the ready line. Call it when the server listens. */
export function ready(bound) {
  console.log(`ready 127.0.0.1:${bound}`);
}

/** Ends the process with status 0 at SIGTERM or SIGINT, when `close` has answered the requests in flight. */
export function endWith(close) {
  const end = async () => {
    setTimeout(() => process.exit(0), GRACE_MS).unref();
    await close();
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, end);
}
