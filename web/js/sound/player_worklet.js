/** Runs in the browser's audio thread: plays what the page hands over. */
import { JitterBuffer } from "./jitter_buffer.js";

/** How often the page is told how it goes. */
const REPORT_S = 0.1;

class PlayerProcessor extends AudioWorkletProcessor {
  #buffer = new JitterBuffer(sampleRate);
  /**
   * Frame that is played next. Counted here: the browser's `currentFrame` stands still for a block where the page's thread
   * just works on the audio graph (Chromium only tries its lock), and a block would be heard twice and the next one never.
   */
  #frame = 0;
  #told = -1;
  #next = 0;
  #playing = true;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  process(inputs, [[out]]) {
    const now = this.#now;
    this.#buffer.pull(out, now);
    this.#frame = now + out.length;
    if (this.#buffer.changes !== this.#told || currentTime >= this.#next) this.#report();
    return this.#playing;
  }

  /** After a pause of the whole node the browser's count is ahead of ours. */
  get #now() {
    return Math.max(this.#frame, currentFrame);
  }

  #take({ type, reply, at_ms: ms, samples, seq }) {
    const at = Math.round(((ms ?? 0) * sampleRate) / 1000);
    if (type === "piece") this.#buffer.push({ reply, at, samples, seq }, this.#now);
    if (type === "skip") this.#buffer.skip();
    if (type === "clear") this.#buffer.clear(reply, at, this.#now);
    if (type === "flush") this.#buffer.flush(this.#now);
    if (type === "allow") this.#buffer.allow();
    if (type === "end") this.#playing = false;
  }

  #report() {
    this.#told = this.#buffer.changes;
    this.#next = currentTime + REPORT_S;
    const lines = this.#buffer.lines.map(({ reply, base }) => ({ reply, base: base / sampleRate }));
    // Memory goes back where it came from: left to this thread's garbage collection, which marks on another thread and
    // lets this one spin meanwhile, it held a computer with one free core for a second.
    const spent = this.#buffer.release();
    this.port.postMessage({ lines, figures: this.#buffer.figures(this.#now), spent }, spent);
  }
}

registerProcessor("eman-player", PlayerProcessor);
