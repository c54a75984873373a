/** A phone must not fall asleep in the middle of a talk. */

export class Awake {
  #lock = null;

  /** Refused on low battery, which is fine. */
  async hold() {
    try { this.#lock ??= await navigator.wakeLock?.request("screen"); } catch { this.#lock = null; }
  }

  release() {
    this.#lock?.release();
    this.#lock = null;
  }
}
