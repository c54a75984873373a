/** A presenter's mouths and eyelids, in a mood also the face, drawn by the server, and where in the portrait they belong. */
import { address, readPieces } from "../api.js";

export class Atlas {
  #places;

  /** @param {object} places as in docs/http-api.md @param {HTMLImageElement} picture */
  constructor(places, picture) {
    this.#places = places;
    this.picture = picture;
  }

  /** @param {string} path of the places @returns {Promise<Atlas | null>} null for a face without pieces */
  static async load(path) {
    const places = path && await readPieces(path);
    return places ? new Atlas(places, await loadPicture(places.picture)) : null;
  }

  /** Of the portrait that the pieces belong to. */
  get size() {
    return this.#places.size;
  }

  /** @returns {{box: number[], tiles: {from: number[], at: number[]}[]}} */
  get mouth() {
    return this.#places.mouth;
  }

  /** @returns {{box: number[], tiles: {from: number[], shut: number}[]} | null} */
  get eyes() {
    return this.#places.eyes;
  }

  /** What lies under mouth and lids. @returns {{box: number[], from: number[]} | null} null for the portrait itself */
  get face() {
    return this.#places.face ?? null;
  }

  /** @returns {number} of the mouth that is most like this row of coefficients; 0 for null, a mouth at rest */
  nearest(row, names) {
    if (!row) return 0;
    const { names: own, importance, mouth } = this.#places;
    const wanted = own.map((name) => row[names.indexOf(name)] ?? 0);
    let [best, least] = [0, Infinity];
    mouth.tiles.forEach(({ at }, number) => {
      const distance = at.reduce((sum, value, index) => sum + ((value - wanted[index]) * importance[index]) ** 2, 0);
      if (distance < least) [best, least] = [number, distance];
    });
    return best;
  }
}

/** @returns {Promise<HTMLImageElement>} ready to be drawn */
export async function loadPicture(path) {
  const image = new Image();
  image.src = address(path);
  await image.decode();
  return image;
}
