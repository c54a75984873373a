/** The mouth on the voice's own clock: what the server's `visemes` say for the sound that is heard at this moment. */

/** Speech that stopped without its own ending shuts the mouth: what is left of it after each step of 40 ms. */
const KEEP = 0.4;
/** Frames of this many replies are kept. */
const REPLIES = 3;
/** A picture is seen so much later than it is drawn. */
const SCREEN_S = 0.02;
/** From frame to frame. */
const STEP_MS = 40;

export class Lips {
  #player;
  /** By reply: frames by their number. */
  #replies = new Map();
  #refused = null;
  #last = null;
  #at = 0;
  #drawn = [];
  /** Names of the coefficients. */
  names = [];
  /** Called with each mood and gesture when its moment is heard. */
  onAct = () => {};

  /** @param {{heard: (ahead: number) => {reply: string, at: number} | null}} player */
  constructor(player) {
    this.#player = player;
  }

  /** Take in a `visemes` message. */
  push({ reply, at_ms: at, step_ms: step, names, frames }) {
    if (reply === this.#refused) return;
    this.#refused = null;
    this.names = names;
    const known = this.#replies.get(reply) ?? new Map();
    this.#replies.set(reply, known);
    frames.forEach((row, index) => known.set(Math.round(at / step) + index, row));
    for (const old of [...this.#replies.keys()].slice(0, -REPLIES)) this.#replies.delete(old);
  }

  /** Take in a `visemes_clear` message. */
  clear({ reply, at_ms: at }) {
    if (reply === this.#refused) this.#refused = null;
    const known = this.#replies.get(reply);
    for (const number of known?.keys() ?? []) if (number * STEP_MS >= at) known.delete(number);
  }

  /** The voice was silenced here: what still comes of its reply is not shown. */
  flush() {
    this.#refused = this.#player.heard(SCREEN_S)?.reply ?? null;
    this.#replies.clear();
  }

  allow() {
    this.#refused = null;
  }

  /** @returns {number[] | null} the mouth now, in the order of `names`; null for one at rest */
  now() {
    const heard = this.#player.heard(SCREEN_S);
    const row = heard && this.#between(this.#replies.get(heard.reply), heard.at / STEP_MS);
    const at = performance.now();
    const passed = (at - this.#at) / STEP_MS;
    this.#at = at;
    this.#last = row ?? faded(this.#last, KEEP ** passed);
    return this.#last;
  }

  /** A picture was drawn. */
  drew() {
    this.#drawn.push(performance.now());
  }

  /** @returns {number} pictures in the last second */
  rate() {
    const now = performance.now();
    this.#drawn = this.#drawn.filter((at) => now - at < 1000);
    return this.#drawn.length;
  }

  /** Between two frames the mouth is on its way from one to the other. */
  #between(frames, place) {
    const first = Math.floor(place);
    const [one, other] = [frames?.get(first), frames?.get(first + 1)];
    if (!one || !other) return one ?? (other && place - first > 0.5 ? other : null) ?? null;
    const share = place - first;
    return one.map((value, index) => value + share * (other[index] - value));
  }
}

function faded(row, by) {
  if (!row) return null;
  const less = row.map((value) => value * by);
  return Math.max(...less) > 0.01 ? less : null;
}
