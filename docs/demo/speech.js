// Parts of a recording that are speech, as emotion/prepare/speech.py finds them.

import { INT16_FULL_SCALE, round } from "./audio.js";

const RATE = 16000; // Hz
const THRESHOLD = 0.5; // probability of speech in a frame
const MIN_SPEECH_S = 0.1;
const PAD_S = 0.15; // at both ends of a part of speech
const FRAME = 512; // samples
const CONTEXT = 64; // samples
const BLOCK = 512; // frames that are computed at a time

export const STATE_SHAPE = [1, 1, 128];

/**
 * Return the probability of speech in successive frames of 32 ms.
 *
 * @param {Int16Array} samples Mono audio at 16 kHz.
 * @param {Function} detect Function of frames with context, their shape and the state of the detector, which returns a
 *   promise of `{probabilities, hidden, cell}`.
 */
export async function speechProbabilities(samples, detect) {
  const found = [];
  const count = Math.ceil(samples.length / FRAME);
  let state = { hidden: new Float32Array(STATE_SHAPE[2]), cell: new Float32Array(STATE_SHAPE[2]) };
  for (let start = 0; start < count; start += BLOCK) {
    const frames = Math.min(BLOCK, count - start);
    const inputs = new Float32Array(frames * (CONTEXT + FRAME));
    for (let frame = 0; frame < frames; frame++) {
      const first = (start + frame) * FRAME - CONTEXT;
      for (let i = 0; i < CONTEXT + FRAME; i++) {
        inputs[frame * (CONTEXT + FRAME) + i] = (samples[first + i] ?? 0) / INT16_FULL_SCALE;
      }
    }
    const { probabilities, ...next } = await detect(inputs, [frames, CONTEXT + FRAME], state);
    found.push(...probabilities);
    state = next;
  }
  return found;
}

/** Return start and end of the parts that are speech, in samples; none if there is no speech. */
export function speechParts(probabilities, length) {
  const isSpeech = probabilities.map((probability) => probability >= THRESHOLD);
  if ((isSpeech.filter(Boolean).length * FRAME) / RATE < MIN_SPEECH_S) return [];
  const parts = [];
  for (let frame = 0; frame < isSpeech.length; frame++) {
    if (!isSpeech[frame] || isSpeech[frame - 1]) continue;
    const silence = isSpeech.indexOf(false, frame);
    const last = silence < 0 ? isSpeech.length : silence;
    const [start, end] = [frame * FRAME - PAD_S * RATE, last * FRAME + PAD_S * RATE].map((edge) =>
      Math.max(0, Math.min(length, round(edge))),
    );
    if (parts.length && start <= parts.at(-1)[1]) parts.at(-1)[1] = end;
    else parts.push([start, end]);
  }
  return parts;
}

/** Return the parts of samples, joined. */
export function join(samples, parts) {
  const joined = new Int16Array(parts.reduce((length, [start, end]) => length + end - start, 0));
  let at = 0;
  for (const [start, end] of parts) {
    joined.set(samples.subarray(start, end), at);
    at += end - start;
  }
  return joined;
}
