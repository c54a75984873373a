/** What belongs to moments of replies, and is done when those are heard: in the order in which it was told. Pure but for its timer. */

/** Milliseconds: no longer without a look, since a reply that waits for a late piece moves. */
const LOOK_MS = 200;

export class Moments {
  #until;
  /** {reply, at, kind, run} */
  #held = [];
  #timer = 0;
  #running = false;
  /** The reply that was told to fall silent: nothing of it is heard before it sounds again. */
  #paused = null;

  /** @param {(reply: string, at: number) => number} until milliseconds until this is heard; 0 when it was, or won't be */
  constructor(until) {
    this.#until = until;
  }

  /**
   * Run this when the reply is heard at `at` (milliseconds after its first sound), and what was told before it is done.
   * @param {{reply: string, at: number, kind: string, run: () => void}} moment `kind`: see `cancel`; `reply`: "" for no moment of its own
   */
  at(moment) {
    this.resume(moment.reply); // of one that is silent nothing new is told
    this.#held.push(moment);
    this.look();
  }

  /** What is held of this kind is not so any more. */
  cancel(kind) {
    this.#held = this.#held.filter((moment) => moment.kind !== kind);
  }

  /** The reply falls silent. */
  pause(reply) {
    this.#paused = reply;
  }

  /** It goes on. */
  resume(reply) {
    if (this.#paused === reply) this.#paused = null;
  }

  /** Do all of it now. */
  release() {
    this.#paused = null;
    const held = this.#held.splice(0);
    clearTimeout(this.#timer);
    for (const { run } of held) run();
  }

  /** Do what is due. */
  look() {
    if (this.#running) return; // what is done may lead here again
    this.#running = true;
    clearTimeout(this.#timer);
    try {
      while (this.#held.length > 0) {
        const wait = this.#wait(this.#held[0]);
        if (wait > 0) {
          this.#timer = setTimeout(() => this.look(), Math.min(wait, LOOK_MS));
          break;
        }
        this.#held.shift().run();
      }
    } finally {
      this.#running = false; // what fails is not to hold up all that follows
    }
  }

  #wait({ reply, at }) {
    if (reply === "") return 0;
    return reply === this.#paused ? LOOK_MS : this.#until(reply, at);
  }
}
