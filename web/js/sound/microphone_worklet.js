/** Runs in the browser's audio thread: the microphone as 16-bit frames at the rate that the server listens at. */
import { LowPass } from "./low_pass.js";

const FRAME_S = 0.02;

class MicrophoneProcessor extends AudioWorkletProcessor {
  #filter;
  #frame;
  #filled = 0;
  #listening = true;

  constructor({ processorOptions: { rate } }) {
    super();
    this.#filter = new LowPass(sampleRate, rate);
    this.#frame = new Int16Array(Math.round(rate * FRAME_S));
    this.port.onmessage = () => { this.#listening = false; };
  }

  process([[samples]]) {
    if (samples) for (const value of this.#filter.feed(samples)) this.#add(value);
    return this.#listening;
  }

  #add(value) {
    this.#frame[this.#filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
    if (this.#filled < this.#frame.length) return;
    const whole = this.#frame;
    this.#frame = new Int16Array(whole.length);
    this.#filled = 0;
    this.port.postMessage(whole, [whole.buffer]);
  }
}

registerProcessor("eman-microphone", MicrophoneProcessor);
