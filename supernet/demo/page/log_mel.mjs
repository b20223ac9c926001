// Log-mel features, as supernet/runtime/log_mel.py computes them.
//
// Shapes: S samples, T frames, W samples of a window, F mel bands.

export const SAMPLE_RATE = 16000;
export const NUM_BANDS = 80;
export const SHIFT = SAMPLE_RATE / 100;
const WINDOW = SAMPLE_RATE / 40;
const POINTS = 512;
const LOWEST = 20;
const HIGHEST = SAMPLE_RATE / 2 - 400;
const PREEMPHASIS = 0.97;
const EPSILON = 2 ** -23;

/**
 * Log-mel features (T, F) as one array, a frame every 10 ms, of mono samples (S) in [-1, 1] at 16 kHz.
 * Recordings shorter than a window are padded with silence.
 */
export function logMel(samples) {
  const padded = samples.length < WINDOW ? new Float32Array(WINDOW) : samples;
  if (padded !== samples) padded.set(samples);
  const numFrames = Math.floor((padded.length + SHIFT / 2) / SHIFT);
  const features = new Float32Array(numFrames * NUM_BANDS);
  const real = new Float64Array(POINTS);
  const imaginary = new Float64Array(POINTS);
  for (let t = 0; t < numFrames; t++) {
    real.fill(0);
    imaginary.fill(0);
    frame(padded, t, real);
    transform(real, imaginary);
    BANDS.forEach(({ first, weights }, band) => {
      let energy = 0;
      for (let i = 0; i < weights.length; i++) {
        energy += weights[i] * (real[first + i] ** 2 + imaginary[first + i] ** 2);
      }
      features[t * NUM_BANDS + band] = Math.log(Math.max(energy, EPSILON));
    });
  }
  return features;
}

/** Write the window around the middle of frame `t` to `out`; the recording is reflected at its ends. */
function frame(samples, t, out) {
  const start = t * SHIFT - (WINDOW / 2 - SHIFT / 2);
  let mean = 0;
  for (let w = 0; w < WINDOW; w++) {
    const i = start + w;
    out[w] = samples[i < 0 ? -1 - i : i < samples.length ? i : 2 * samples.length - 1 - i];
    mean += out[w] / WINDOW;
  }
  for (let w = WINDOW - 1; w >= 0; w--) {
    out[w] = (out[w] - mean - PREEMPHASIS * (out[Math.max(0, w - 1)] - mean)) * HANN[w];
  }
}

const HANN = Float64Array.from(
  { length: WINDOW },
  (_, w) => (0.5 - 0.5 * Math.cos((2 * Math.PI * w) / (WINDOW - 1))) ** 0.85,
);

const COSINES = Float64Array.from({ length: POINTS / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / POINTS));
const SINES = Float64Array.from({ length: POINTS / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / POINTS));

/** The discrete Fourier transform of POINTS complex numbers, in place (radix 2, decimation in time). */
function transform(real, imaginary) {
  for (let i = 1, j = 0; i < POINTS; i++) {
    let bit = POINTS >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let half = 1; half < POINTS; half *= 2) {
    const step = POINTS / (2 * half);
    for (let start = 0; start < POINTS; start += 2 * half) {
      for (let k = 0; k < half; k++) {
        const [a, b] = [start + k, start + k + half];
        const [c, s] = [COSINES[k * step], SINES[k * step]];
        const re = real[b] * c - imaginary[b] * s;
        const im = real[b] * s + imaginary[b] * c;
        real[b] = real[a] - re;
        imaginary[b] = imaginary[a] - im;
        real[a] += re;
        imaginary[a] += im;
      }
    }
  }
}

const mel = (hertz) => 1127 * Math.log1p(hertz / 700);

/** Triangular filters, which overlap by half on the mel scale: the first point and the weights of each. */
const BANDS = Array.from({ length: NUM_BANDS }, (_, band) => {
  const width = (mel(HIGHEST) - mel(LOWEST)) / (NUM_BANDS + 1);
  const left = mel(LOWEST) + band * width;
  const all = Array.from({ length: POINTS / 2 + 1 }, (_, point) => {
    const place = (mel((point * SAMPLE_RATE) / POINTS) - left) / width;
    return Math.max(0, Math.min(place, 2 - place));
  });
  const first = Math.max(0, all.findIndex((weight) => weight > 0));
  const weights = Float64Array.from(all.slice(first, all.findLastIndex((weight) => weight > 0) + 1));
  return { first, weights };
});
