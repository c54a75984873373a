/** Nod, shake and tilt, as the server's faces make them (avatar/face/gestures.py). Pure. */

/** Seconds and place of the turning points: a small move the other way, the stroke, what it overshoots, and less each time. */
const KEYS = {
  nod: [[0, 0], [0.16, -0.16], [0.42, 1], [0.68, -0.22], [0.94, 0.36], [1.2, -0.06], [1.44, 0]],
  shake: [[0, 0], [0.14, 0.14], [0.4, -1], [0.72, 0.92], [1.02, -0.58], [1.3, 0.28], [1.56, -0.08], [1.8, 0]],
  tilt: [[0, 0], [0.16, -0.08], [0.56, 1.08], [0.84, 1], [1.5, 1], [2.06, -0.07], [2.4, 0]],
};
/** What each does to the head where it is 1, in parts of the picture (roll: radians). */
const POSES = {
  nod: { pitch: 0.0195, y: 0.0039, zoom: 0.006 },
  shake: { yaw: 0.0186, x: 0.002, roll: 0.012 },
  tilt: { roll: 0.085 },
};
/** Seconds in which what a new gesture leaves over of the one before dies away. */
const REST_S = 0.12;

export function isGesture(name) {
  return Object.hasOwn(KEYS, name);
}

export class Gestures {
  #keys = null;
  #pose = {};
  #start = 0;
  /** Where the last change of gestures found the head, and when. */
  #left = {};
  #leftAt = 0;

  /** @param {string} name of one of them @param {number} time seconds */
  begin(name, time) {
    [this.#left, this.#leftAt] = [this.at(time), time];
    [this.#keys, this.#pose, this.#start] = [KEYS[name], POSES[name], time];
  }

  /** @param {number} time seconds @returns {Record<string, number>} what is added to a pose */
  at(time) {
    const fade = Math.exp(-(time - this.#leftAt) / REST_S);
    const place = this.#keys ? along(this.#keys, time - this.#start) : 0;
    const pose = Object.fromEntries(Object.entries(this.#left).map(([name, value]) => [name, value * fade]));
    for (const [name, size] of Object.entries(this.#pose)) pose[name] = (pose[name] ?? 0) + size * place;
    return pose;
  }

  /** Whether a gesture is being made. */
  moves(time) {
    return this.#keys !== null && time - this.#start < this.#keys.at(-1)[0];
  }
}

/** Minimum-jerk strokes from one turning point to the next (Flash and Hogan 1985). */
function along(keys, time) {
  const index = keys.findIndex(([at]) => at > time);
  if (index < 1) return 0;
  const [[begin, one], [end, other]] = [keys[index - 1], keys[index]];
  const s = (time - begin) / (end - begin);
  return one + (other - one) * s * s * s * (10 + s * (6 * s - 15));
}
