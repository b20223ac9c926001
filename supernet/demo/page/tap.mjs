// An audio worklet that hands the samples of the microphone to the page.

registerProcessor(
  "tap",
  class extends AudioWorkletProcessor {
    process([[samples]]) {
      if (samples !== undefined) this.port.postMessage(samples.slice());
      return true;
    }
  },
);
