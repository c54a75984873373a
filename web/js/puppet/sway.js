/** How a head moves by itself: it breathes, drifts, leans towards who speaks and nods with its own stress. Pure but for its dice. */

/** Amplitude, in parts of the picture (roll: radians), and base frequency in Hz. */
const WAVES = {
  x: [0.0042, 0.11],
  y: [0.002, 0.16],
  roll: [0.013, 0.09],
  yaw: [0.0062, 0.13],
  pitch: [0.0032, 0.17],
};
const BREATH = [0.0026, 0.24];
/** What each activity does to them, as an offset. */
const REST = { x: 0, y: 0, roll: 0, yaw: 0, pitch: 0, zoom: 0 };
const LOOKS = {
  listening: { ...REST, zoom: 0.010, pitch: 0.0016, roll: 0.006 },
  recognizing: { ...REST, zoom: 0.012, pitch: 0.0016, roll: 0.008 },
  thinking: { ...REST, roll: -0.016, yaw: 0.006, pitch: -0.004 },
  speaking: { ...REST, zoom: 0.004 },
};
/** What each mood does to the head, as the server's faces do. */
const MOODS = {
  happy: { roll: 0.008, zoom: 0.006 },
  sad: { roll: -0.02, pitch: 0.0055, zoom: -0.004 },
  surprised: { pitch: -0.0042, zoom: -0.008 },
  thinking: { roll: -0.024, yaw: 0.0062, pitch: -0.0034 },
  apologetic: { roll: 0.036, pitch: 0.0034 },
};
/** Seconds after which most of a change is done. */
const SETTLE_S = 0.45;
/** Nodding with the voice: how far, and how quickly it follows. */
const BEAT = 0.006;
const RISE_S = 0.09;
const LONGEST_STEP_S = 0.2;

export class Sway {
  #phases;
  #offset = { ...REST };
  #loud = 0;
  #slow = 0;
  #time = null;

  constructor(random = Math.random) {
    this.#phases = Object.fromEntries([...Object.keys(WAVES), "breath"].map((name) => [name, [0, 1, 2].map(() => 2 * Math.PI * random())]));
  }

  /**
   * @param {number} time seconds @param {string} activity one of the server's words @param {number} open how far the mouth is open, 0 to 1
   * @param {string} mood
   * @returns {{x: number, y: number, roll: number, yaw: number, pitch: number, zoom: number, breath: number}}
   */
  at(time, activity, open, mood = "neutral") {
    const step = Math.min(time - (this.#time ?? time), LONGEST_STEP_S);
    this.#time = time;
    const goal = LOOKS[activity] ?? REST;
    const near = 1 - Math.exp(-step / SETTLE_S);
    const more = MOODS[mood] ?? {};
    for (const name of Object.keys(REST)) this.#offset[name] += (goal[name] + (more[name] ?? 0) - this.#offset[name]) * near;
    this.#loud += (open - this.#loud) * (1 - Math.exp(-step / RISE_S));
    this.#slow += (open - this.#slow) * (1 - Math.exp(-step / 0.9));
    const pose = { ...this.#offset, breath: this.#wave("breath", BREATH, time) };
    for (const [name, wave] of Object.entries(WAVES)) pose[name] += this.#wave(name, wave, time);
    pose.pitch += BEAT * Math.tanh(3 * (this.#loud - this.#slow));
    return pose;
  }

  #wave(name, [size, hertz], time) {
    const [one, two, three] = this.#phases[name];
    const turn = 2 * Math.PI * hertz * time;
    return size * (0.6 * Math.sin(turn + one) + 0.3 * Math.sin(1.93 * turn + two) + 0.16 * Math.sin(3.71 * turn + three));
  }
}
