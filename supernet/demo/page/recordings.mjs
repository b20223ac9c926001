// Samples at 16 kHz from files and from the microphone.

import { SAMPLE_RATE } from "./log_mel.mjs";

/** The mono samples of an audio file of any format that the browser reads. */
export async function samplesOf(file) {
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE); // decoding resamples to its rate
  const buffer = await context.decodeAudioData(await file.arrayBuffer());
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, s) => channels.reduce((sum, channel) => sum + channel[s], 0) / channels.length);
}

/** A recording from the microphone, which the browser does not process. */
export class Microphone {
  static async open() {
    if (navigator.mediaDevices === undefined) {
      throw new Error("browsers give microphones only to pages from localhost and over HTTPS");
    }
    const microphone = new Microphone();
    microphone.stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    microphone.context = new AudioContext();
    microphone.blocks = [];
    await microphone.context.audioWorklet.addModule("tap.mjs");
    const tap = new AudioWorkletNode(microphone.context, "tap");
    tap.port.onmessage = ({ data }) => microphone.blocks.push(data);
    microphone.context.createMediaStreamSource(microphone.stream).connect(tap);
    tap.connect(microphone.context.destination); // it is silent, but only runs if it leads somewhere
    return microphone;
  }

  /** End the recording; returns a WAV file. */
  async close() {
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
    return wav(this.blocks, this.context.sampleRate);
  }
}

/** A mono WAV file of 32-bit floats. */
function wav(blocks, rate) {
  const size = 4 * blocks.reduce((count, block) => count + block.length, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (offset, letters) => [...letters].forEach((letter, i) => header.setUint8(offset + i, letter.charCodeAt(0)));
  const [short, long] = [(at, x) => header.setUint16(at, x, true), (at, x) => header.setUint32(at, x, true)];
  text(0, "RIFF"), long(4, 36 + size), text(8, "WAVE");
  text(12, "fmt "), long(16, 16), short(20, 3), short(22, 1), long(24, rate), long(28, 4 * rate), short(32, 4);
  short(34, 32), text(36, "data"), long(40, size);
  return new Blob([header, ...blocks], { type: "audio/wav" });
}

export const secondsOf = (samples) => samples.length / SAMPLE_RATE;
