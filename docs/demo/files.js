// Decoding of sound files: WAV here, so that samples are those that Python reads; other formats by the browser.

const UNKNOWN_SIZE = 2 ** 31 - 2 ** 16; // programs that write to a pipe state sizes from here on
const MIN_MISSING_S = 0.05; // shorter ends are rounding of headers
const RATES = [1000, 768000];
const BROWSER_RATE = 48000; // the rate of Opus; the browser converts others to it, except those that are read from a header

/**
 * Return the samples of a sound file.
 *
 * @param {ArrayBuffer} buffer Content of the file.
 * @returns {Promise<{rate: number, channels: Float32Array[], isFloat: boolean, notes: string[]}>} Decoded audio.
 */
export async function decode(buffer) {
  const audio = decodeWav(buffer) ?? (await decodeInBrowser(buffer));
  if (audio.rate < RATES[0] || audio.rate > RATES[1]) {
    throw new Error(`it has a sampling rate of ${audio.rate} Hz; ${RATES[0]} to ${RATES[1]} Hz are supported`);
  }
  return audio;
}

async function decodeInBrowser(buffer) {
  let decoded;
  try {
    const context = new OfflineAudioContext(1, 1, rateOfFlac(buffer) ?? BROWSER_RATE);
    decoded = await context.decodeAudioData(buffer.slice(0)); // a copy, since the buffer is detached
  } catch {
    throw new Error("it is not a sound file that this browser can read; try WAV, FLAC, MP3 or Ogg");
  }
  const channels = Array.from({ length: decoded.numberOfChannels }, (_, number) => decoded.getChannelData(number));
  return { rate: decoded.sampleRate, channels, isFloat: false, notes: [] };
}

/** Return the sampling rate of a FLAC file that a browser can decode at; undefined for other files. */
export function rateOfFlac(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < 42 || text(view, 0) !== "fLaC") return undefined;
  const rate = view.getUint32(18) >>> 12;
  return rate >= 8000 && rate <= 96000 ? rate : undefined;
}

/** Return the samples of a WAV file of integers or floats; null for other files. */
export function decodeWav(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < 12 || text(view, 0) !== "RIFF" || text(view, 8) !== "WAVE") return null;
  let format = null;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const [name, size, start] = [text(view, at), view.getUint32(at + 4, true), at + 8];
    if (name === "fmt " && start + 16 <= view.byteLength) format = readFormat(view, start, size);
    if (name === "data") return format && readSamples(view, format, start, size);
    at = start + size + (size % 2);
  }
  return null;
}

function readFormat(view, start, size) {
  const tag = view.getUint16(start, true);
  const isExtensible = tag === 0xfffe && size >= 40 && start + 26 <= view.byteLength;
  return {
    tag: isExtensible ? view.getUint16(start + 24, true) : tag,
    count: view.getUint16(start + 2, true),
    rate: view.getUint32(start + 4, true),
    bytesPerSecond: view.getUint32(start + 8, true),
    bits: view.getUint16(start + 14, true),
  };
}

function readSamples(view, { tag, count, rate, bytesPerSecond, bits }, start, size) {
  const read = { 1: INTEGERS, 3: FLOATS }[tag]?.[bits];
  if (!read || !count) return null; // the browser may know it
  const available = view.byteLength - start;
  const missing = size < UNKNOWN_SIZE && bytesPerSecond ? (size - available) / bytesPerSecond : 0;
  const notes = missing > MIN_MISSING_S ? [`is cut off; its header states ${missing.toFixed(1)} more seconds`] : [];
  const bytes = bits / 8;
  const length = Math.floor(Math.min(size, available) / (bytes * count));
  const channels = Array.from({ length: count }, () => new Float32Array(length));
  for (let i = 0, at = start; i < length; i++) {
    for (let channel = 0; channel < count; channel++, at += bytes) channels[channel][i] = read(view, at);
  }
  return { rate, channels, isFloat: tag === 3, notes };
}

const INTEGERS = {
  8: (view, at) => (view.getUint8(at) - 128) / 128,
  16: (view, at) => view.getInt16(at, true) / 2 ** 15,
  24: (view, at) => (view.getInt8(at + 2) * 2 ** 16 + view.getUint16(at, true)) / 2 ** 23,
  32: (view, at) => view.getInt32(at, true) / 2 ** 31,
};

const FLOATS = {
  32: (view, at) => view.getFloat32(at, true),
  64: (view, at) => view.getFloat64(at, true),
};

function text(view, at) {
  return String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, 4));
}
