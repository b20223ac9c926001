// Confidences of transcripts and decisions of cascades, as in supernet/scoring/confidence.py.
//
// Shapes: S stream frames, V tokens.

const BLANK = 0;
const LEAST = -1e4; // 0 times infinity is not a number
const ALPHA = 1 / 3;

/** The token id of the greatest log-probability of each frame. */
export function bestPath(logProbs, numTokens) {
  return frames(logProbs, numTokens).map((frame) => frame.indexOf(Math.max(...frame)));
}

/**
 * The confidence from 0 to 1 of log-probabilities (S, V), natural logarithm: 1 without frames.
 *
 * @param measure The key of a function below.
 */
export function confidenceOf(measure, logProbs, numTokens) {
  if (logProbs.length === 0) return 1;
  const all = frames(logProbs, numTokens).map((frame) => Array.from(frame, (x) => Math.max(x, LEAST)));
  return Math.min(1, Math.max(0, MEASURES[measure](all)));
}

/** The probability that a text has no error; null if that was not calibrated. */
export function probabilityOf(calibration, confidence) {
  if (calibration === undefined) return null;
  return 0.5 * (1 + Math.tanh((calibration.slope * confidence + calibration.offset) / 2));
}

/** Whether a cascade goes on to its next size: also if the confidence is not a number. */
export function goesOn(confidence, threshold) {
  return !(confidence >= threshold);
}

function frames(logProbs, numTokens) {
  return Array.from({ length: logProbs.length / numTokens }, (_, t) =>
    logProbs.subarray(t * numTokens, (t + 1) * numTokens),
  );
}

function nonBlank(all) {
  const found = all.filter((frame) => frame.indexOf(Math.max(...frame)) !== BLANK);
  return found.length ? found : all;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

const MEASURES = {
  entropy(all) {
    const found = nonBlank(all);
    const negative = found.map((frame) => sum(frame.map((x) => Math.exp(x) * x)));
    return 1 + sum(negative) / found.length / Math.log(found[0].length);
  },
  tsallis(all) {
    const found = nonBlank(all);
    const greatest = found[0].length ** (1 - ALPHA) - 1;
    const entropies = found.map((frame) => (sum(frame.map((x) => Math.exp(ALPHA * x))) - 1) / greatest);
    return 1 - Math.max(...entropies);
  },
  "best-path"(all) {
    return Math.exp(sum(all.map((frame) => Math.max(...frame))) / all.length);
  },
};
