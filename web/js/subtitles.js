/** The words being spoken, two lines at a time, over the picture. */

const LINGER_MS = 1800;
/** Reading pace of the parts of a long sentence, characters per second; the voice itself sets the pace between sentences. */
const PACE = { wide: 4.5, narrow: 14 };
/** A sentence is over after these; anything else is a clause whose rest follows. */
const OVER = /[.!?…。！？]["'”’」』)）]*$/;
const WIDE = /[\u3000-\u9fff\uac00-\ud7af\uff00-\uffef]/;

export class Subtitles {
  #box;
  #words;
  #timers = [];
  #clause = "";

  constructor(box) {
    this.#box = box;
    this.#words = box.querySelector("span");
  }

  /** Show one sentence or clause; what continues a clause joins it, what is long advances in parts of two lines. */
  show(text) {
    this.#stop();
    const wide = WIDE.test(text);
    const capacity = this.#capacity(wide);
    const joined = `${this.#clause}${this.#clause && !wide ? " " : ""}${text.trim()}`;
    const words = joined.length <= capacity ? joined : text.trim();
    this.#clause = OVER.test(words) ? "" : words;
    let at = 0;
    for (const part of split(words, capacity, wide)) {
      this.#timers.push(setTimeout(() => this.#write(part), at));
      at += (part.length / (wide ? PACE.wide : PACE.narrow)) * 1000;
    }
  }

  /** Speech is over: leave the last words for a moment. */
  finish() {
    this.#clause = "";
    this.#timers.push(setTimeout(() => this.clear(), LINGER_MS));
  }

  clear() {
    this.#stop();
    this.#clause = "";
    this.#box.dataset.shown = "false";
  }

  #write(part) {
    this.#words.textContent = part;
    this.#box.dataset.shown = "true";
  }

  #stop() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
  }

  /** Characters that fit into two lines. A Latin letter is about half as wide as it is high; the last tenth is for ragged lines. */
  #capacity(wide) {
    const size = parseFloat(getComputedStyle(this.#words).fontSize);
    const line = (this.#box.clientWidth - 40) / (size * (wide ? 1 : 0.52));
    return Math.max(16, Math.floor(2 * line * 0.9));
  }
}

/** Cut into parts of at most `limit` characters and of similar length, at a comma or space where there is one. */
export function split(text, limit, wide) {
  const parts = Math.ceil(text.length / limit);
  if (parts <= 1) return [text];
  const goal = Math.ceil(text.length / parts);
  const cut = wide ? /[，、；：。！？,;:]/ : /[\s,;:]/;
  for (let reach = 0; reach < limit; reach += 1) {
    for (const at of [goal + reach, goal - reach]) {
      if (at > 0 && at <= limit && at < text.length && cut.test(text[at - 1])) {
        return [text.slice(0, at).trim(), ...split(text.slice(at).trim(), limit, wide)];
      }
    }
  }
  return [text.slice(0, goal), ...split(text.slice(goal), limit, wide)];
}
