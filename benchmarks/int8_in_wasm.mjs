// Whether 8-bit integers are faster in WebAssembly: `node benchmarks/int8_in_wasm.mjs NODE_MODULES [ROUNDS]`; for docs/export.md.
//
// NODE_MODULES is a folder that holds onnxruntime-web (npm install onnxruntime-web@1.30.0). One thread, as on a page without
// isolation headers; both files in turn, one image at a time, so that other work beside slows both. Printed: medians.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, rounds = "30"] = process.argv.slice(2);
const ort = await import(pathToFileURL(resolve(modules, "onnxruntime-web/dist/ort.wasm.min.mjs")));
ort.env.wasm.numThreads = 1;
const sessions = {};
for (const name of ["bundled", "bundled-int8"]) {
  const file = new URL(`../src/lesionlab/models/${name}.onnx`, import.meta.url);
  sessions[name] = await ort.InferenceSession.create(await readFile(file), { executionProviders: ["wasm"] });
}
const shape = [1, ...sessions.bundled.inputMetadata[0].shape.slice(1)];
const pixels = Uint8Array.from({ length: shape.reduce((a, b) => a * b) }, (_, place) => (place * 37) % 256);
const times = { bundled: [], "bundled-int8": [] };
for (let round = 0; round < Number(rounds) + 3; round++)
  for (const [name, session] of Object.entries(sessions)) {
    const start = performance.now();
    await session.run({ image: new ort.Tensor("uint8", pixels, shape) }, ["probabilities"]);
    if (round >= 3) times[name].push(performance.now() - start);
  }
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
for (const [name, values] of Object.entries(times)) console.log(`${name}: ${median(values).toFixed(1)} ms an image`);
