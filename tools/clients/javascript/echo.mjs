// Sends an array over HTTP and shows the reply as a typed array.
//
//     node echo.mjs 127.0.0.1:50055 [ndecho|json|base64]
//
// The second argument names the module with the encoding; ndecho sends a .npy file.
import { bytesOf } from "./ndecho.mjs";

const [address, encoding = "ndecho"] = process.argv.slice(2);
const { echo } = await import(`./${encoding}.mjs`);
const exact = [1.5, NaN, -0, Infinity, 0.1, 5e-324];
const finite = [1.5, -2, 0, 1e300, 0.1, 5e-324];
const sent = { data: Float64Array.from(encoding === "json" ? finite : exact), shape: [2, 3] };
const got = await echo(`http://${address}`, sent);
const isSame = Buffer.compare(bytesOf(got.data), bytesOf(sent.data)) === 0;
if (!isSame || got.shape.join() !== sent.shape.join()) {
  console.error("sent", sent, "got", got);
  process.exit(1);
}
const shape = got.shape.join(", ");
console.log(`Node fetch, ${encoding}.mjs:`, got.data, `of shape (${shape}) came back bit for bit`);
