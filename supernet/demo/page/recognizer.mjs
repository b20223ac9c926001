// An export of several sizes, run by onnxruntime-web.

import * as ort from "./ort/ort.wasm.min.mjs";
import { bestPath, confidenceOf, probabilityOf } from "./confidence.mjs";
import { logMel, NUM_BANDS } from "./log_mel.mjs";
import { wordsOf } from "./symbols.mjs";

const SILENCE = 1e-4; // recordings whose samples are all quieter have no text
const REPEATS = 5;

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1;

async function bytesOf(file) {
  const response = await fetch(`export/${encodeURIComponent(file)}`);
  if (!response.ok) throw new Error(`export/${file} cannot be loaded: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

export class BrowserRecognizer {
  /** @param facts The content of demo.json. */
  constructor(facts) {
    this.facts = facts;
    this.sizes = facts.sizes;
    this.sessions = new Map();
  }

  size(budget) {
    return this.sizes.find((size) => size.budget === budget);
  }

  /** Open the graph of a size; the weights that sizes share are loaded once. */
  session(size) {
    if (!this.sessions.has(size.file)) this.sessions.set(size.file, this.open(size.file));
    return this.sessions.get(size.file);
  }

  async open(file) {
    const options = { executionProviders: ["wasm"] };
    if (this.facts.weights !== null) {
      this.weights ??= bytesOf(this.facts.weights);
      options.externalData = [{ path: this.facts.weights, data: await this.weights }];
    }
    return ort.InferenceSession.create(await bytesOf(file), options);
  }

  /**
   * Recognize samples at a size.
   *
   * @returns The words, the confidence, the probability that they have no error (null: not calibrated), and the
   *   milliseconds that the network took, the best of several runs. Silent recordings have no confidence.
   */
  async recognize(samples, size) {
    if (!samples.some((x) => Math.abs(x) >= SILENCE)) {
      return { words: [], confidence: null, probability: null, milliseconds: 0 };
    }
    const { symbols, tokens, confidence } = this.facts;
    const { logProbs, milliseconds } = await this.run(logMel(samples), size);
    const found = confidenceOf(confidence.measure, logProbs, symbols.length);
    return {
      words: wordsOf(bestPath(logProbs, symbols.length), symbols, tokens),
      confidence: found,
      probability: probabilityOf(confidence.calibrations[size.budget], found),
      milliseconds,
    };
  }

  async run(features, size) {
    const session = await this.session(size);
    const numFrames = features.length / NUM_BANDS;
    const inputs = {
      x: new ort.Tensor("float32", features, [1, numFrames, NUM_BANDS]),
      x_lens: new ort.Tensor("int64", BigInt64Array.of(BigInt(numFrames)), [1]),
    };
    if (this.facts.isOnDemand) inputs.kept = new ort.Tensor("bool", size.kept, [size.kept.length]);
    let [outputs, milliseconds] = [await session.run(inputs), Infinity];
    for (let i = 0; i < REPEATS; i++) {
      const start = performance.now();
      outputs = await session.run(inputs);
      milliseconds = Math.min(milliseconds, performance.now() - start);
    }
    const length = Number(outputs.log_probs_len.data[0]) * this.facts.symbols.length;
    return { logProbs: outputs.log_probs.data.subarray(0, length), milliseconds };
  }
}
