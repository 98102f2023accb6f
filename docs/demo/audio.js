// Preparation of audio, as emotion/media does it: downmix, high-pass filter, resampling, samples of 16 bits.

export const INT16_FULL_SCALE = 32768;

const MIN_PEAK = 4; // less is rounding noise

// See emotion/media/downmix.py for the reasons of these values.
const SIGNAL_WITHIN_DB = 12;
const CANCELS = 0.5;
const SILENT_DB = 60;
const FLOAT_PEAK = 4;
const INTEGER_SCALES = [2 ** 15, 2 ** 23, 2 ** 31];
const MIN_INTEGER_PEAK = 256;
const BLOCK_S = 0.05;
const LFE_CHANNEL = { 6: 3, 7: 3, 8: 3 };

// See emotion/media/highpass.py.
const HIGH_PASS_HZ = 70;
const HIGH_PASS_HALF_LENGTH_S = 0.0625;
const HIGH_PASS_BETA = 3.395;

// A windowed sinc with these values, which were fitted to it, has the impulse response of soxr's "HQ" from 8, 12, 24, 32
// and 48 to 16 kHz within 1e-7 of its maximum; soxr converts other rates in several steps, which is within 2e-4.
const RESAMPLE_CUTOFF = 0.95687; // of the lower of the two Nyquist frequencies
const RESAMPLE_TAPS = 193.2; // periods of the lower of the two rates; rounded up to a multiple of 4 samples
const RESAMPLE_BETA = 13.0401;
const MAX_KEPT_PHASES = 1024; // bounds the memory for rates without a common divisor

/** Return x rounded to an integer, halves to even, as Python and NumPy round. */
export function round(x) {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/**
 * Return mono samples of 16 bits.
 *
 * @param {{rate: number, channels: Float32Array[], isFloat: boolean}} audio Decoded audio.
 * @param {number} sampleRate Sampling rate of the result, in Hz.
 * @returns {{samples: Int16Array, notes: string[]}} The samples, and messages about unused channels.
 */
export function prepare(audio, sampleRate) {
  if (!audio.channels[0]?.length) throw new Error("it holds no samples");
  const { mono, notes } = downmix(audio);
  return { samples: toInt16(resample(highPass(mono, audio.rate), audio.rate, sampleRate)), notes };
}

/** Return the sum of the channels with the weights that `chooseWeights` returns, and notes. */
export function downmix({ rate, channels, isFloat }) {
  const notes = [];
  let scale = 1;
  if (isFloat) {
    const peak = Math.max(...channels.map(peakOf));
    if (!Number.isFinite(peak)) throw new Error("it holds NaN or infinite samples");
    scale = fullScale(peak);
    if (scale > 1) notes.push(`its floats reach ${peak} and are read as integers of ${Math.log2(scale) + 1} bits`);
  }
  let weights = [1];
  if (channels.length > 1) {
    const filtered = channels.map((channel) => highPass(channel, rate));
    const mix = chooseWeights(filtered, rate, LFE_CHANNEL[channels.length]);
    weights = mix.weights;
    notes.push(...mix.notes);
  }
  const mono = new Float32Array(channels[0].length);
  channels.forEach((channel, number) => {
    const weight = Math.fround(weights[number]) / scale;
    if (weight) for (let i = 0; i < mono.length; i++) mono[i] += weight * channel[i];
  });
  return { mono, notes };
}

/** Return the full scale of float samples with this peak: 1, or that of the integers that were stored as floats. */
function fullScale(peak) {
  if (peak <= FLOAT_PEAK) return 1;
  const scale = INTEGER_SCALES.find((one) => peak <= one);
  if (peak < MIN_INTEGER_PEAK || !scale) {
    throw new Error(`its samples reach ${peak}; full scale is 1, so divide them by their scale`);
  }
  return scale;
}

/** Return the weight of each channel: those with a signal are averaged, unless they cancel each other. */
export function chooseWeights(channels, rate, lowFrequency) {
  const count = channels.length;
  const loudest = channels.map((channel) => maxBlockPower(channel, Math.max(1, round(BLOCK_S * rate))));
  const eligible = channels.map((_, number) => number !== lowFrequency);
  const threshold = Math.max(...loudest.filter((_, number) => eligible[number])) / 10 ** (SIGNAL_WITHIN_DB / 10);
  const used = channels.map((_, number) => number).filter((n) => eligible[n] && loudest[n] > 0 && loudest[n] >= threshold);
  if (!used.length) return { weights: channels.map(() => 1 / count), notes: [] };
  const products = used.map((one) => used.map((other) => dot(channels[one], channels[other])));
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const power = products.map((row, number) => row[number]);
  const strongest = used[power.indexOf(Math.max(...power))];
  if (sum(products.map(sum)) < CANCELS * sum(power)) {
    const note = `its channels cancel each other; channel ${strongest + 1} of ${count} is used alone`;
    return { weights: channels.map((_, number) => Number(number === strongest)), notes: [note] };
  }
  const weights = channels.map((_, number) => (used.includes(number) ? 1 / used.length : 0));
  const excluded = weights.indexOf(0);
  if (count > 2 || excluded < 0) return { weights, notes: [] }; // with more than two channels, silent ones are normal
  const below = 10 * Math.log10(loudest[strongest] / Math.max(loudest[excluded], 1e-20));
  const level = below > SILENT_DB ? "silent" : `${below.toFixed(0)} dB below the other`;
  return { weights, notes: [`channel ${excluded + 1} of 2 is ${level} and is left out`] };
}

function maxBlockPower(samples, block) {
  let loudest = 0;
  for (let start = 0; start < samples.length; start += block) {
    const part = samples.subarray(start, start + block);
    loudest = Math.max(loudest, dot(part, part));
  }
  return loudest;
}

function dot(one, other) {
  let total = 0;
  for (let i = 0; i < one.length; i++) total += one[i] * other[i];
  return total;
}

/** Return the maximum magnitude of samples; NaN if one is NaN. */
function peakOf(samples) {
  let peak = 0;
  for (const sample of samples) {
    if (!(Math.abs(sample) <= peak)) peak = Math.abs(sample);
    if (Number.isNaN(peak)) return NaN;
  }
  return peak;
}

/** Return samples without offset, hum and rumble; the ends are extended by the first and the last sample. */
export function highPass(samples, rate) {
  const half = round(HIGH_PASS_HALF_LENGTH_S * rate);
  const kernel = new Float64Array(2 * half + 1);
  let sum = 0;
  for (let i = 0; i < kernel.length; i++) {
    kernel[i] = sinc((2 * HIGH_PASS_HZ * (i - half)) / rate) * kaiser((i - half) / half, HIGH_PASS_BETA);
    sum += kernel[i];
  }
  for (let i = 0; i < kernel.length; i++) kernel[i] /= -sum;
  kernel[half] += 1;
  const extended = new Float32Array(samples.length + 2 * half);
  extended.fill(samples[0], 0, half).fill(samples.at(-1), half + samples.length);
  extended.set(samples, half);
  return convolve(extended, kernel);
}

/** Return the valid part of a convolution, by overlap-save with two blocks at a time, as real and imaginary part. */
function convolve(samples, kernel) {
  const size = 2 ** Math.ceil(Math.log2(4 * kernel.length));
  const step = size - kernel.length + 1;
  const angles = Float64Array.from({ length: size / 2 }, (_, i) => (2 * Math.PI * i) / size);
  const waves = [angles.map(Math.cos), angles.map(Math.sin)];
  const response = [new Float64Array(size), new Float64Array(size)];
  response[0].set(kernel);
  transform(...response, ...waves);
  const result = new Float32Array(samples.length - kernel.length + 1);
  for (let start = 0; start < result.length; start += 2 * step) {
    const [real, imaginary] = [new Float64Array(size), new Float64Array(size)];
    real.set(samples.subarray(start, start + size));
    imaginary.set(samples.subarray(start + step, start + step + size));
    transform(real, imaginary, ...waves);
    for (let i = 0; i < size; i++) {
      const [a, b, c, d] = [real[i], imaginary[i], response[0][i], response[1][i]];
      real[i] = (a * c - b * d) / size;
      imaginary[i] = (a * d + b * c) / size;
    }
    transform(imaginary, real, ...waves); // with the parts exchanged, the transform is the inverse one
    result.set(real.subarray(kernel.length - 1).subarray(0, result.length - start), start);
    if (start + step < result.length) {
      result.set(imaginary.subarray(kernel.length - 1).subarray(0, result.length - start - step), start + step);
    }
  }
  return result;
}

/** Compute the discrete Fourier transform of complex numbers in place; their number is a power of two. */
function transform(real, imaginary, cosine, sine) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let length = 2; length <= size; length *= 2) {
    for (let start = 0; start < size; start += length) {
      for (let k = 0, angle = 0; k < length / 2; k++, angle += size / length) {
        const [one, other] = [start + k, start + k + length / 2];
        const x = real[other] * cosine[angle] + imaginary[other] * sine[angle];
        const y = imaginary[other] * cosine[angle] - real[other] * sine[angle];
        real[other] = real[one] - x;
        imaginary[other] = imaginary[one] - y;
        real[one] += x;
        imaginary[one] += y;
      }
    }
  }
}

/** Return samples at another rate, with the filter of soxr's "HQ". */
export function resample(samples, from, to) {
  if (from === to) return samples;
  const divisor = greatestCommonDivisor(from, to);
  const [phases, advance] = [to / divisor, from / divisor];
  const lower = Math.min(from, to);
  const steps = Math.max(phases, advance); // of the common multiple of both rates, in a period of the lower one
  const half = ((2 * Math.ceil((RESAMPLE_TAPS * steps) / 4) + 0.5) / steps) * (from / lower);
  const cutoff = (RESAMPLE_CUTOFF * lower) / from;
  const reach = Math.ceil(half);
  const result = new Float32Array(Math.floor((samples.length * to) / from + 0.5));
  const kernels = new Map();
  for (let n = 0; n < result.length; n++) {
    const phase = (n * advance) % phases;
    const first = (n * advance - phase) / phases - reach;
    if (!kernels.has(phase)) {
      if (kernels.size === MAX_KEPT_PHASES) kernels.clear();
      kernels.set(phase, Float64Array.from({ length: 2 * reach + 2 }, (_, i) => {
        const distance = i - reach - phase / phases;
        return cutoff * sinc(cutoff * distance) * kaiser(distance / half, RESAMPLE_BETA);
      }));
    }
    const kernel = kernels.get(phase);
    const end = Math.min(kernel.length, samples.length - first);
    let total = 0;
    for (let i = Math.max(0, -first); i < end; i++) total += kernel[i] * samples[first + i];
    result[n] = total;
  }
  return result;
}

function greatestCommonDivisor(one, other) {
  return other ? greatestCommonDivisor(other, one % other) : one;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Return the Kaiser window at x, which is -1 and 1 at its ends. */
function kaiser(x, beta) {
  return Math.abs(x) > 1 ? 0 : bessel(beta * Math.sqrt(1 - x * x)) / bessel(beta);
}

/** Return the modified Bessel function of the first kind and order 0, by its power series. */
function bessel(x) {
  let [total, term] = [1, 1];
  for (let n = 1; term > 1e-17 * total; n++) {
    term *= (x / (2 * n)) ** 2;
    total += term;
  }
  return total;
}

/** Return samples of full scale [-1, 1] as integers of 16 bits. */
export function toInt16(samples) {
  return Int16Array.from(samples, (sample) =>
    Math.max(-INT16_FULL_SCALE, Math.min(INT16_FULL_SCALE - 1, round(sample * INT16_FULL_SCALE))),
  );
}

/** Return true if samples of 16 bits hold more than rounding noise. */
export function isAudible(samples) {
  return samples.some((sample) => Math.abs(sample) >= MIN_PEAK);
}
