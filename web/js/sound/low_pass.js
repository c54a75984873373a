/** From the microphone's rate to the one that the server listens at: a windowed sinc in phases, piece by piece. Pure. */

/** Zero crossings of the sinc to each side, at the lower of the two rates. */
const CROSSINGS = 16;
/** Of the lower rate's Nyquist frequency; above it the filter falls to nothing until the Nyquist frequency's mirror. */
const CUTOFF = 0.92;
/** Kaiser window: 70 dB are gone in what must not fold back. */
const BETA = 7;
/** Positions between two samples for which the filter is tabulated. */
const PHASES = 256;

export class LowPass {
  #step;
  #half;
  #table;
  #kept;
  /** Position of the next output in the kept samples. */
  #at;

  /** @param {number} from rate of the samples that come @param {number} to rate of those that are given */
  constructor(from, to) {
    this.#step = from / to;
    const scale = Math.min(1, to / from);
    this.#half = Math.ceil(CROSSINGS / scale);
    this.#table = tabulated(this.#half, scale * CUTOFF);
    this.#kept = new Float32Array(2 * this.#half);
    this.#at = this.#half;
  }

  /** The next samples. @param {Float32Array} samples @returns {Float32Array} what is decided by now */
  feed(samples) {
    const all = new Float32Array(this.#kept.length + samples.length);
    all.set(this.#kept);
    all.set(samples, this.#kept.length);
    const out = [];
    for (; this.#at + this.#half < all.length; this.#at += this.#step) out.push(this.#value(all, this.#at));
    const used = Math.max(0, Math.floor(this.#at) - this.#half);
    this.#kept = all.slice(used);
    this.#at -= used;
    return Float32Array.from(out);
  }

  #value(all, at) {
    const whole = Math.floor(at);
    const taps = 2 * this.#half;
    const row = Math.round((at - whole) * PHASES) * taps;
    const first = whole - this.#half + 1;
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) sum += all[first + tap] * this.#table[row + tap];
    return sum;
  }
}

/** One row of weights per phase, each with the sum 1. `cutoff`: of the incoming Nyquist frequency. */
function tabulated(half, cutoff) {
  const taps = 2 * half;
  const table = new Float32Array((PHASES + 1) * taps);
  for (let phase = 0; phase <= PHASES; phase++) {
    const row = table.subarray(phase * taps, (phase + 1) * taps);
    for (let tap = 0; tap < taps; tap++) {
      const x = tap - half + 1 - phase / PHASES;
      row[tap] = sinc(cutoff * x) * kaiser(x / half);
    }
    const sum = row.reduce((total, value) => total + value, 0);
    row.forEach((value, tap) => { row[tap] = value / sum; });
  }
  return table;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function kaiser(x) {
  return Math.abs(x) >= 1 ? 0 : bessel(BETA * Math.sqrt(1 - x * x)) / bessel(BETA);
}

/** Modified Bessel function of the first kind, order 0, as its series. */
function bessel(x) {
  let [term, sum] = [1, 1];
  for (let k = 1; term > 1e-9 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
