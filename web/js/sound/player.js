/** The avatar's voice: pieces of sound from the server, played in time by a worklet. */
import { voiceContext } from "./context.js";
import { loadWorklet } from "./worklet.js";

/** Safari does not tell how late its loudspeaker is. */
const USUAL_LATENCY_S = 0.02;
/** Within this time the audio thread says where a reply's first piece is. */
const PLACED_S = 0.3;

export class Player {
  #context = voiceContext();
  #node = null;
  #tap = null;
  #lines = [];
  #figures = {};
  /** Pieces were left out since the last one that was played. */
  #skipped = false;
  /** The reply that comes, since when, and when its first sound would have come, in seconds of the context. */
  #came = null;
  /** Milliseconds from the arrival of a reply's first sound to its being heard; null before the first. */
  #delay = null;
  /** Called with true when the browser forbids sound until the user does something, else with false. */
  onSilent = () => {};
  /** Called with `delay` whenever it was measured. */
  onDelay = () => {};
  /** Called some ten times a second, when what is played may have moved. */
  onReport = () => {};

  async open() {
    await loadWorklet(this.#context, "./player_worklet.js");
    this.#node = new AudioWorkletNode(this.#context, "eman-player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#node.port.onmessage = ({ data }) => this.#report(data);
    this.#tap = this.#context.createMediaStreamDestination();
    this.#node.connect(this.#context.destination);
    this.#node.connect(this.#tap);
    this.#context.onstatechange = () => this.#tell();
    this.wake();
  }

  /** What is played, for meters. @returns {MediaStream} */
  get stream() {
    return this.#tap.stream;
  }

  /** For tests and measurements: what goes to the loudspeaker. @returns {AudioNode} */
  get output() {
    return this.#node;
  }

  /** See `JitterBuffer.figures`. */
  get figures() {
    return { ...this.#figures, state: this.#context.state };
  }

  /** Milliseconds from the arrival of a reply's first sound to its being heard: as measured, before that as planned. */
  get delay() {
    const planned = (this.#figures.delay_ms ?? 0) + 1000 * this.#latency;
    return Math.round(this.#delay ?? planned);
  }

  get #latency() {
    return this.#context.outputLatency || USUAL_LATENCY_S;
  }

  /** The server begins anew: what comes next came at its time. */
  restart() {
    this.#came = null;
    this.#delay = null;
  }

  get silent() {
    return this.#context.state !== "running";
  }

  /** Start the sound, or learn that a gesture is needed first. */
  wake() {
    if (this.silent) this.#context.resume().catch(() => { /* then onSilent has been told */ });
    this.#tell();
  }

  /**
   * While the browser forbids sound it is left out, as a silenced video's is: kept, it would come before all that is said later.
   * @param {{reply: string, at_ms: number, seq: number, data: string}} frame an `audio_frame`
   */
  push({ reply, at_ms, seq, data }) {
    if (this.silent) { this.#skipped = true; return; }
    if (this.#skipped) this.#node?.port.postMessage({ type: "skip" });
    this.#skipped = false;
    const samples = decoded(data);
    const now = this.#context.currentTime;
    if (this.#came?.reply !== reply) this.#came = { reply, since: now, at: now - at_ms / 1000 };
    this.#node?.port.postMessage({ type: "piece", reply, at_ms, seq, samples }, [samples.buffer]);
  }

  /** @param {{reply: string, at_ms: number}} message an `audio_clear` */
  clear({ reply, at_ms }) {
    this.#node?.port.postMessage({ type: "clear", reply, at_ms });
  }

  /** Silence at once, without waiting for the server. */
  flush() {
    this.#node?.port.postMessage({ type: "flush" });
  }

  /** The server did not stop after all. */
  allow() {
    this.#node?.port.postMessage({ type: "allow" });
  }

  /**
   * What is heard now, or `ahead` seconds later.
   * @returns {{reply: string, at: number} | null} `at`: milliseconds after the reply's first sound
   */
  heard(ahead = 0) {
    const now = this.#context.currentTime - this.#latency + ahead;
    const line = this.silent ? null : this.#lines.findLast(({ base }) => base <= now);
    return line ? { reply: line.reply, at: (now - line.base) * 1000 } : null;
  }

  /** @returns {string} the reply whose sound came last; "" for none, and for a clip's */
  get coming() {
    return this.#came?.reply ?? "";
  }

  /** @returns {number} milliseconds until a reply is heard at `at` (ms after its first sound); 0 when it was, or won't be */
  until(reply, at) {
    if (this.silent) return 0;
    const now = this.#context.currentTime;
    const line = this.#lines.findLast((one) => one.reply === reply);
    if (line) return Math.max(0, 1000 * (line.base + this.#latency - now) + at);
    const coming = this.#came?.reply === reply && now - this.#came.since < PLACED_S;
    return coming ? this.delay : 0;
  }

  close() {
    this.#context.onstatechange = null;
    this.#came = null;
    if (this.#node) this.#node.port.onmessage = null;
    this.#node?.disconnect();
    this.#node?.port.postMessage({ type: "end" });
    this.#node = null;
    this.#lines = [];
  }

  #report({ lines, figures }) {
    this.#lines = lines;
    this.#figures = figures;
    this.onReport();
    const line = lines.at(-1);
    if (this.silent || !line || line.reply !== this.#came?.reply) return;
    this.#delay = Math.max(0, 1000 * (line.base - this.#came.at + this.#latency));
    this.onDelay(this.delay);
  }

  #tell() {
    this.onSilent(this.silent);
  }
}

/** Base64 of 16-bit little-endian samples. */
function decoded(data) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length & ~1);
  for (let index = 0; index < bytes.length; index++) bytes[index] = text.charCodeAt(index);
  return new Int16Array(bytes.buffer);
}
