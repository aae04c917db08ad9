// The engine of the static page, away from the page's own thread: ONNX Runtime Web on one thread of WebAssembly, which
// needs no isolation headers. Messages in: {number, start} once, then {number, file, patient}; out: {number, answer} or {progress}.

import { answer } from "./answer.js";
import { ImageError, readHeader, tooLarge } from "./header.js";
import { readPixels, readsBackExactly } from "./pixels.js";

const here = (name) => new URL(name, import.meta.url).href;
let facts, ort, session;

async function start() {
  if (!readsBackExactly()) {
    throw new Error("this browser alters the pixels that a page reads (a protection against fingerprinting), so predictions would be wrong; switch it off for this page, or use another browser");
  }
  facts = await (await fetched("facts.json")).json();
  ort = await import("./ort.wasm.min.js");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { mjs: here("ort-wasm-simd-threaded.js"), wasm: here("ort-wasm-simd-threaded.wasm") };
  session = await ort.InferenceSession.create(await model(), { executionProviders: ["wasm"] });
  return { model: facts };
}

async function fetched(name) {
  const response = await fetch(here(name)).catch((error) => {
    throw new Error(`${name} could not be fetched (${error.message})`);
  });
  if (!response.ok) throw new Error(`${name} could not be fetched (the server answered ${response.status})`);
  return response;
}

// The model's bytes, with word of how many have come.
async function model() {
  const bytes = new Uint8Array(facts.model_bytes);
  let come = 0;
  const reader = (await fetched("model.onnx")).body.getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    if (come + piece.value.length > bytes.length) break;
    bytes.set(piece.value, come);
    come += piece.value.length;
    postMessage({ progress: come / bytes.length });
  }
  if (come !== bytes.length) throw new Error(`model.onnx has not the ${bytes.length} bytes that facts.json names; upload the folder again, whole`);
  return bytes;
}

async function predict(file, patient) {
  const large = tooLarge(file.size, facts.limits);
  if (large) throw large;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const pixels = await readPixels(bytes, readHeader(bytes, facts.limits), facts);
  const image = new ort.Tensor("uint8", pixels, [1, facts.height, facts.width, 3]);
  const outputs = ["probabilities"];
  if (facts.has_activation_maps) outputs.push("activation_maps");
  if (facts.has_ood) outputs.push("ood_score");
  const given = await session.run({ image }, outputs);
  const found = Object.fromEntries(outputs.map((name) => [name, given[name].data]));
  return { result: answer(file.name, { ...found, grid: given.activation_maps?.dims.slice(1, 3) }, facts, patient) };
}

onmessage = async ({ data }) => {
  try {
    postMessage({ number: data.number, answer: await (data.start ? start() : predict(data.file, data.patient)) });
  } catch (error) {
    const code = error instanceof ImageError ? error.code : "failed";
    postMessage({ number: data.number, answer: { error: { code, reason: error.message } } });
  }
};
