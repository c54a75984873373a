/** The presenter's moods: a face with its mouths and lids for each, and how one goes over into the other. */
import { Atlas } from "./atlas.js";
import { AWAY_S, MouthBlend } from "./mouth_blend.js";

export const NEUTRAL = "neutral";
const MOODS = ["happy", "thinking", "surprised", "apologetic", "sad"];
/** Seconds that one takes to go over into the next. */
const FADE_S = 0.32;
/** What nobody asked for yet is fetched in quiet moments, so long after the one before: then it is there when it is wanted. */
const PAUSE_MS = 1500;

export class Moods {
  #path;
  #quiet;
  /** Faces by mood; null where there is none. */
  #faces = new Map();
  #loading = new Set();
  #timer = 0;
  #wanted = NEUTRAL;
  /** The one that is shown, or fades out, and the one that fades in. */
  #from;
  #to = null;
  #share = 0;

  /**
   * @param {string} path of the neutral face's pieces @param {Atlas} neutral
   * @param {() => boolean} quiet whether the network has nothing better to do
   */
  constructor(path, neutral, quiet) {
    this.#path = path;
    this.#quiet = quiet;
    this.#from = new MouthBlend(neutral);
    this.#faces.set(NEUTRAL, this.#from);
    this.#fetchMore();
  }

  /** For tests. @returns {string} of the face that is shown most */
  get shown() {
    const most = this.#to && this.#share >= 0.5 ? this.#to : this.#from;
    return [...this.#faces].find(([, face]) => face === most)?.[0] ?? NEUTRAL;
  }

  /** @returns {MouthBlend} of the neutral face */
  get neutral() {
    return this.#faces.get(NEUTRAL);
  }

  /** Wear this mood, as soon as it is here. */
  wear(mood) {
    this.#wanted = mood;
    this.#load(mood);
  }

  /**
   * @param {number[] | null} row coefficients of the mouth @param {string[]} names @param {number} step seconds since the last call
   * @returns {boolean} whether anything moves
   */
  follow(row, names, step) {
    const wanted = this.#faces.get(this.#wanted) ?? this.neutral;
    if (step > AWAY_S) [this.#from, this.#to, this.#share] = [wanted, null, 0];
    if (!this.#to && wanted !== this.#from) [this.#to, this.#share] = [wanted, 0];
    const fades = this.#to !== null;
    if (fades) this.#share = Math.min(1, this.#share + Math.min(step, 0.1) / FADE_S);
    const moves = [this.#from, this.#to].filter(Boolean).map((face) => face.follow(row, names, step));
    if (this.#share === 1) [this.#from, this.#to, this.#share] = [this.#to, null, 0];
    return fades || moves.some(Boolean);
  }

  /** @returns {{atlas: Atlas, mouths: [number, number][], share: number}[]} what lies on what */
  get layers() {
    const from = { atlas: this.#from.atlas, mouths: this.#from.strongest, share: 1 };
    if (!this.#to) return [from];
    const eased = this.#share * this.#share * (3 - 2 * this.#share);
    return [from, { atlas: this.#to.atlas, mouths: this.#to.strongest, share: eased }];
  }

  close() {
    clearTimeout(this.#timer);
    this.#path = "";
  }

  async #load(mood) {
    if (this.#faces.has(mood) || this.#loading.has(mood) || !this.#path) return;
    this.#loading.add(mood);
    const atlas = await Atlas.load(`${this.#path}?${new URLSearchParams({ mood })}`).catch(() => null);
    this.#faces.set(mood, atlas && new MouthBlend(atlas));
    this.#loading.delete(mood);
  }

  #fetchMore() {
    this.#timer = setTimeout(async () => {
      const next = MOODS.find((mood) => !this.#faces.has(mood));
      if (!next || !this.#path) return;
      if (this.#quiet()) await this.#load(next);
      if (this.#path) this.#fetchMore();
    }, PAUSE_MS);
  }
}
