/** The microphone on its way to the server without WebRTC: 16-bit frames of 20 ms. */
import { listeningContext, wakeAudio } from "./context.js";
import { loadWorklet } from "./worklet.js";

/** So much silence is sent after a microphone was muted: what was said has an end. */
const TAIL_MS = 600;

export class Uplink {
  #send;
  #rate;
  #source = null;
  #node = null;
  #run = 0;

  /** @param {number} rate that the server listens at @param {(frame: ArrayBuffer) => void} send */
  constructor(rate, send) {
    this.#rate = rate;
    this.#send = send;
  }

  /** Send this microphone instead of the one before; null for none. One that is muted sends nothing. */
  async attach(track) {
    const run = ++this.#run;
    this.#detach();
    if (!track) return;
    wakeAudio();
    const context = listeningContext();
    await loadWorklet(context, "./microphone_worklet.js");
    if (run !== this.#run) return;
    this.#node = new AudioWorkletNode(context, "eman-microphone", { numberOfOutputs: 0, processorOptions: { rate: this.#rate } });
    let heardAt = -Infinity;
    this.#node.port.onmessage = ({ data }) => {
      if (track.enabled) heardAt = performance.now();
      if (performance.now() - heardAt < TAIL_MS) this.#send(data.buffer);
    };
    this.#source = context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#node);
  }

  close() {
    this.#run += 1;
    this.#detach();
  }

  #detach() {
    this.#source?.disconnect();
    if (this.#node) this.#node.port.onmessage = null;
    this.#node?.port.postMessage("end");
    this.#source = null;
    this.#node = null;
  }
}
