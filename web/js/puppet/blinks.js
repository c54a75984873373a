/** How far the eyelids are shut, as time goes by. Pure but for its dice. */

/** Seconds that a lid takes to fall and to rise; spontaneous blinks last 120 to 180 ms above half shut. */
const CLOSING = 0.07;
const OPENING = 0.11;
const TWICE = 0.14;

export class Blinks {
  #random;
  #start = -10;
  #hold = 0.02;
  #next;
  #again = false;

  /** @param {() => number} random 0 to 1 */
  constructor(random = Math.random) {
    this.#random = random;
    this.#next = this.#between(0.8, 2.5);
  }

  /** @param {number} time seconds, never earlier than before @returns {number} 0 open to 1 shut */
  at(time) {
    if (time >= this.#next) this.#begin(time);
    const since = time - this.#start;
    if (since < CLOSING) return 0.5 - 0.5 * Math.cos((Math.PI * since) / CLOSING);
    const rising = since - CLOSING - this.#hold;
    if (rising <= 0) return 1;
    return rising < OPENING ? 0.5 + 0.5 * Math.cos((Math.PI * rising) / OPENING) : 0;
  }

  #begin(time) {
    this.#start = time;
    this.#hold = this.#between(0.01, 0.04);
    this.#again = !this.#again && this.#random() < TWICE;
    const whole = CLOSING + this.#hold + OPENING;
    this.#next = time + (this.#again ? whole + this.#between(0.06, 0.16) : this.#between(2, 6));
  }

  #between(least, most) {
    return least + (most - least) * this.#random();
  }
}
