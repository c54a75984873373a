/** How fast everything is: round trip, pictures per second, time from question to answer. */
import { onLanguage, t } from "./i18n.js";

const PERIOD_MS = 1000;
/** A question older than this was answered by something else. */
const FORGET_MS = 60_000;

export class Latency {
  #box;
  #timer = 0;
  #askedAt = 0;
  #figures = { rtt: null, fps: null, answer: null };

  constructor(box) {
    this.#box = box;
    onLanguage(() => this.#write());
  }

  get figures() {
    return { ...this.#figures };
  }

  /** Begin to poll `read`: () => Promise<{rtt, fps} | null>. */
  start(read) {
    clearInterval(this.#timer);
    this.#timer = setInterval(async () => {
      const stats = await read();
      if (!stats) return;
      Object.assign(this.#figures, stats);
      this.#write();
    }, PERIOD_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#figures = { rtt: null, fps: null, answer: null };
    this.#askedAt = 0;
    this.#write();
  }

  /** The user has finished asking. */
  asked() {
    this.#askedAt = performance.now();
  }

  /** The answer begins; `measured`: the server's own figure in ms, which is better than ours. */
  answered(measured) {
    const own = this.#askedAt ? performance.now() - this.#askedAt : Infinity;
    this.#askedAt = 0;
    const answer = Number.isFinite(measured) ? measured : own;
    if (answer > FORGET_MS) return;
    this.#figures.answer = answer;
    this.#write();
  }

  #write() {
    const { rtt, fps, answer } = this.#figures;
    const parts = [];
    if (rtt !== null) parts.push(["rtt", rtt < 10 ? rtt.toFixed(1) : rtt.toFixed(0), false]);
    if (fps !== null) parts.push(["fps", fps.toFixed(0), true]);
    if (answer !== null) parts.push(["answer", (answer / 1000).toFixed(answer < 1000 ? 2 : 1), true]);
    this.#box.hidden = parts.length === 0;
    this.#box.replaceChildren(...parts.map(([name, value, optional]) => {
      const span = document.createElement("span");
      span.dataset.figure = name;
      span.classList.toggle("optional", optional);
      span.textContent = t(`latency.${name}`, { value });
      return span;
    }));
  }
}
