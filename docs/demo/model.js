// The models, computed by ONNX Runtime Web.

import { INT16_FULL_SCALE, isAudible, prepare } from "./audio.js";
import { join, speechParts, speechProbabilities, STATE_SHAPE } from "./speech.js";

/**
 * Load the runtime and the models.
 *
 * @param {HTMLScriptElement} runtime The element that names the files of the runtime and their hashes.
 * @param {Function} report Function of the bytes that are loaded, and of their sum in the end.
 * @returns {Promise<{description: object, predict: Function}>} What model.json holds, and a function of decoded audio.
 */
export async function loadModel(runtime, report) {
  const response = await fetch("model.json");
  if (!response.ok) throw new Error("this folder holds no model; write the page with: emotion demo-page DIR");
  const description = await response.json();
  const { wasm, wasmIntegrity: integrity, wasmBytes } = runtime.dataset;
  const total = Number(wasmBytes) + Object.values(description.files).reduce((sum, bytes) => sum + bytes, 0);
  let loaded = 0;
  const load = (address, options) => fetchBytes(address, options, (bytes) => report((loaded += bytes), total));
  const names = Object.keys(description.files);
  const [ort, binary, ...models] = await Promise.all([
    importVerified(runtime),
    load(wasm, { integrity }),
    ...names.map((name) => load(name)),
  ]);
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.numThreads = 1; // more need headers of isolation, which static hosts do not send
  const sessions = {};
  for (const [number, name] of names.entries()) {
    sessions[name] = await ort.InferenceSession.create(models[number], { executionProviders: ["wasm"] });
  }
  return { description, predict: (audio) => predict(ort, sessions, description, audio) };
}

/** Import a module whose hash the browser verifies; a failed script element alone would not keep import() from loading it. */
async function importVerified({ src, integrity }) {
  const script = Object.assign(document.createElement("script"), { type: "module", crossOrigin: "anonymous", integrity, src });
  await new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${src} cannot be loaded, or has another hash`));
    document.head.append(script);
  });
  return import(src); // the module that was verified
}

async function fetchBytes(address, options, report) {
  const response = await fetch(address, options);
  if (!response.ok) throw new Error(`${address} cannot be loaded (status ${response.status})`);
  const chunks = [];
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(chunks).arrayBuffer());
    chunks.push(value);
    report(value.length);
  }
}

/** Return the prediction of decoded audio, as `emotion predict` does for a file. */
async function predict(ort, sessions, description, audio) {
  const { samples, notes } = prepare(audio, description.sample_rate);
  const answer = { seconds: samples.length / description.sample_rate, notes: [...audio.notes, ...notes] };
  const silent = !isAudible(samples);
  if (silent && !description.speech_only) throw new Error("it is silent");
  let used = samples;
  if (description.speech_only) {
    const detect = detector(ort, sessions["speech.onnx"]);
    used = silent ? [] : join(samples, speechParts(await speechProbabilities(samples, detect), samples.length));
    answer.speechSeconds = used.length / description.sample_rate;
    if (!used.length) {
      answer.notes.unshift(silent ? "is silent" : "no speech was detected");
      return { ...answer, emotion: "no speech", probabilities: [] };
    }
  }
  const waveform = Float32Array.from(used, (sample) => sample / INT16_FULL_SCALE);
  const { probabilities, distance } = await sessions["model.onnx"].run({
    waveform: new ort.Tensor("float32", waveform, [1, waveform.length]),
    waveform_length: new ort.Tensor("int64", BigInt64Array.of(BigInt(waveform.length)), [1]),
  });
  const values = Array.from(probabilities.data);
  const emotion = description.labels[values.indexOf(Math.max(...values))];
  return { ...answer, emotion, probabilities: values, distance: distance?.data[0] };
}

function detector(ort, session) {
  return async (frames, shape, { hidden, cell }) => {
    const { speech_probs, hn, cn } = await session.run({
      input: new ort.Tensor("float32", frames, shape),
      h: new ort.Tensor("float32", hidden, STATE_SHAPE),
      c: new ort.Tensor("float32", cell, STATE_SHAPE),
    });
    return { probabilities: speech_probs.data, hidden: hn.data, cell: cn.data };
  };
}
