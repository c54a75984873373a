/** The presenter as a canvas that this page draws: the server's still with its mouths and lids, moved by the voice. */
import { cssOf, TRANSPARENT } from "../backdrop.js";
import { Atlas, loadPicture } from "./atlas.js";
import { Blinks } from "./blinks.js";
import { PlainPainter, ShaderPainter } from "./painter.js";
import { Sway } from "./sway.js";

/** Seconds after which most of a change of mouths is done: one mouth goes over into the next. */
const BLEND_S = 0.014;
/** A share that can't be seen. */
const NOTHING = 0.02;
/** While only the head drifts, pictures so far apart are enough. */
const SLOW_MS = 40;
/** Openness of the jaw (coefficient `jawOpen`) that counts as wide. */
const WIDE = 0.5;
const STILL = { x: 0, y: 0, roll: 0, yaw: 0, pitch: 0, zoom: 0, breath: 0 };

export class Puppet {
  #canvas;
  #look;
  #painter = null;
  #lips = null;
  #wanted = "";
  #atlas = null;
  /** The still that is moved. @type {HTMLImageElement | null} */
  portrait = null;
  #ready = false;
  #frame = 0;
  #paintedAt = 0;
  #shares = new Map([[0, 1]]);
  #blinks = new Blinks();
  #sway = new Sway();
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  /** What the avatar is doing, in the server's words. */
  activity = "idle";
  /** Called before another face is shown, and when the first picture of one is there. */
  onChange = () => {};
  onShown = () => {};

  /** @param {HTMLCanvasElement} canvas @param {import("../look.js").Look} look */
  constructor(canvas, look) {
    this.#canvas = canvas;
    this.#look = look;
    // A graphics driver that was restarted took everything with it.
    canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); this.#ready = false; });
    canvas.addEventListener("webglcontextrestored", () => { this.#painter = null; this.#wanted = ""; this.#load(); });
    look.addEventListener("changed", () => this.#lips && this.#load());
  }

  get canvas() {
    return this.#canvas;
  }

  /** Whether there is a picture. */
  get shown() {
    return this.#ready && this.#lips !== null;
  }

  /** Whether the picture fills its frame; one that is cut out gives no light. */
  get opaque() {
    const { background } = this.#look.current;
    return background !== TRANSPARENT && !cssOf(background);
  }

  /** For tests: the number of the mouth that is shown most. */
  get mouth() {
    return [...this.#shares].reduce((most, one) => (one[1] > most[1] ? one : most), [0, 0])[0];
  }

  /** Move with these lips. @param {import("./lips.js").Lips} lips */
  start(lips) {
    this.#lips = lips;
    this.#load();
    cancelAnimationFrame(this.#frame);
    this.#tick(performance.now());
    if (this.#ready) this.onShown();
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    this.#lips = null;
  }

  /** The pictures of who is to be shown; those from before stay until then. */
  async #load() {
    const stills = stillsOf(this.#look);
    const mouths = this.#look.presenter?.mouths;
    const wanted = `${stills} ${mouths}`;
    if (this.#wanted === wanted) return;
    this.#wanted = wanted;
    try {
      const [portrait, atlas] = await Promise.all([firstPicture(stills), Atlas.load(mouths)]);
      if (this.#wanted !== wanted) return;
      this.onChange();
      this.#painter ??= ShaderPainter.possible(this.#canvas) ?? new PlainPainter(this.#canvas);
      this.#atlas = atlas;
      this.portrait = portrait;
      this.#shares = new Map([[0, 1]]);
      this.#painter.show(portrait, atlas);
      this.#ready = true;
      this.#paint(performance.now(), true);
      if (this.#lips) this.onShown();
    } catch {
      this.#wanted = ""; // the pictures of before stay, or the page's own still; the next change tries again
    }
  }

  #tick(now) {
    this.#frame = requestAnimationFrame((at) => this.#tick(at));
    this.#paint(now, false);
  }

  #paint(now, first) {
    if (!this.#ready) return;
    const time = now / 1000;
    const row = this.#lips?.now() ?? null;
    const speaks = this.#blend(row, (now - this.#paintedAt) / 1000);
    const shut = this.#atlas?.eyes ? this.#blinks.at(time) : 0;
    if (!first && !speaks && shut === 0 && now - this.#paintedAt < SLOW_MS) return;
    if (!first && !speaks && shut === 0 && this.#calm.matches && now - this.#paintedAt < 1000) return;
    const open = row ? Math.min(1, (row[this.#lips.names.indexOf("jawOpen")] ?? 0) / WIDE) : 0;
    const pose = this.#calm.matches ? STILL : this.#sway.at(time, this.activity, open);
    this.#paintedAt = now;
    this.#painter.paint(this.#mouths(), shut, pose);
    this.#lips?.drew();
  }

  /** Let the shares of the mouths follow what is wanted. @returns {boolean} whether anything moves */
  #blend(row, step) {
    const goal = this.#atlas?.nearest(row, this.#lips?.names ?? []) ?? 0;
    if (this.#shares.size === 1 && this.#shares.has(goal)) return row !== null;
    const keep = Math.exp(-Math.min(step, 0.1) / BLEND_S);
    const before = new Map(this.#shares);
    this.#shares.clear();
    for (const [number, share] of before) if (number !== goal && share * keep > NOTHING) this.#shares.set(number, share * keep);
    const others = [...this.#shares.values()].reduce((sum, share) => sum + share, 0);
    this.#shares.set(goal, 1 - others);
    return true;
  }

  /** The strongest three, which sum to 1. */
  #mouths() {
    const strongest = [...this.#shares].sort(([, one], [, other]) => other - one).slice(0, 3);
    const sum = strongest.reduce((total, [, share]) => total + share, 0);
    return strongest.map(([number, share]) => [number, share / sum]);
  }
}

/** Pictures of who is to be shown, best first: cut out where the page itself draws what is behind. */
function stillsOf({ presenter, current: { background }, backgrounds }) {
  if (!presenter) return ["./poster.png"];
  if (cssOf(background) || background === TRANSPARENT) return [presenter.cutout, presenter.portrait];
  if (!backgrounds.includes(background)) return [presenter.portrait];
  return [`${presenter.portrait}?${new URLSearchParams({ background })}`, presenter.portrait];
}

async function firstPicture([path, ...others]) {
  try {
    return await loadPicture(path);
  } catch (failure) {
    if (others.length === 0) throw failure;
    return firstPicture(others);
  }
}
