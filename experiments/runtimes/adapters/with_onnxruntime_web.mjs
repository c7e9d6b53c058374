// node THIS FILE: for each line DTYPE SHAPE INPUTS OUTPUTS (raw values), runs the ONNX file once.
import { readFileSync, writeFileSync } from "fs";
import * as readline from "readline";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(process.argv[2])), {
  executionProviders: ["wasm"],
});
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [dtype, shape, inputs, outputs] = line.split(" ");
  const bytes = readFileSync(inputs);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const values = dtype === "uint8" ? new Uint8Array(buffer) : new Float32Array(buffer);
  const images = new ort.Tensor(dtype, values, shape.split(",").map(Number));
  const results = await session.run({ [session.inputNames[0]]: images });
  writeFileSync(outputs, Buffer.from(results.logits.data.slice().buffer));
  console.log("done");
}
