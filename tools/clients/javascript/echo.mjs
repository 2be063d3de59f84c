// Sends an array over HTTP and shows the reply as a typed array.
//
//     node echo.mjs 127.0.0.1:50055
import { bytesOf, echo } from "./ndecho.mjs";

const sent = { data: Float64Array.of(1.5, NaN, -0, Infinity, 0.1, 5e-324), shape: [2, 3] };
const got = await echo(`http://${process.argv[2]}`, sent);
const isSame = Buffer.compare(bytesOf(got.data), bytesOf(sent.data)) === 0;
if (!isSame || got.shape.join() !== sent.shape.join()) {
  console.error("sent", sent, "got", got);
  process.exit(1);
}
console.log("Node fetch, .npy:", got.data, `of shape (${got.shape.join(", ")}) came back bit for bit`);
