/** How loud a stream is, about twelve times a second. */
import { listeningContext } from "./sound/context.js";

const PERIOD_MS = 80;
/** Range shown: -55 dBFS is silence in a room, -10 dBFS a loud voice near the microphone. */
const FLOOR_DB = -55;
const RANGE_DB = 45;

export class Meter {
  #source = null;
  #analyser = null;
  #timer = 0;
  #last = 0;
  #onLevel;

  /** @param {(level: number) => void} onLevel gets 0..1, only when it changes visibly */
  constructor(onLevel) {
    this.#onLevel = onLevel;
  }

  attach(stream) {
    if (this.#source?.mediaStream === stream) return;
    this.detach();
    const context = listeningContext();
    if (!context || !stream?.getAudioTracks().length) return;
    this.#source = context.createMediaStreamSource(stream);
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#source.connect(this.#analyser);
    const samples = new Float32Array(this.#analyser.fftSize);
    this.#timer = setInterval(() => this.#measure(samples), PERIOD_MS);
  }

  detach() {
    clearInterval(this.#timer);
    this.#source?.disconnect();
    this.#source = null;
    this.#show(0);
  }

  #measure(samples) {
    this.#analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
    const level = (10 * Math.log10(power + 1e-12) - FLOOR_DB) / RANGE_DB;
    this.#show(Math.min(1, Math.max(0, level)));
  }

  #show(level) {
    if (Math.abs(level - this.#last) < 0.03 && level !== 0) return;
    if (level === this.#last) return;
    this.#last = level;
    this.#onLevel(level);
  }
}
