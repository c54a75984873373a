/** Which mouths of a set are shown, and how much of each: one goes over into the next. */

/** Seconds after which most of a change of mouths is done. */
const BLEND_S = 0.014;
/** After a pause of so many seconds nobody saw the one before. */
export const AWAY_S = 0.5;
/** A share that can't be seen. */
const NOTHING = 0.02;

export class MouthBlend {
  #shares = new Map([[0, 1]]);

  /** @param {import("./atlas.js").Atlas} atlas */
  constructor(atlas) {
    this.atlas = atlas;
  }

  /** @returns {number} of the mouth that is shown most */
  get most() {
    return [...this.#shares].reduce((most, one) => (one[1] > most[1] ? one : most), [0, 0])[0];
  }

  /**
   * Let the shares follow what is wanted.
   * @param {number[] | null} row coefficients, null at rest @param {string[]} names theirs @param {number} step seconds
   * @returns {boolean} whether anything moves
   */
  follow(row, names, step) {
    const goal = this.atlas.nearest(row, names);
    if (this.#shares.size === 1 && this.#shares.has(goal)) return row !== null;
    const keep = step > AWAY_S ? 0 : Math.exp(-Math.min(step, 0.1) / BLEND_S);
    const before = new Map(this.#shares);
    this.#shares.clear();
    for (const [number, share] of before) if (number !== goal && share * keep > NOTHING) this.#shares.set(number, share * keep);
    const others = [...this.#shares.values()].reduce((sum, share) => sum + share, 0);
    this.#shares.set(goal, 1 - others);
    return true;
  }

  /** @returns {[number, number][]} the strongest three, which sum to 1 */
  get strongest() {
    const strongest = [...this.#shares].sort(([, one], [, other]) => other - one).slice(0, 3);
    const sum = strongest.reduce((total, [, share]) => total + share, 0);
    return strongest.map(([number, share]) => [number, share / sum]);
  }
}
