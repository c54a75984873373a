/** The presenter as a canvas that this page draws: the server's still with its mouths, lids and moods, moved by the voice. */
import { cssOf, stillsOf, TRANSPARENT } from "../backdrop.js";
import { Atlas, loadPicture } from "./atlas.js";
import { Blinks } from "./blinks.js";
import { Gestures, isGesture } from "./gestures.js";
import { Moods, NEUTRAL } from "./moods.js";
import { PlainPainter, ShaderPainter } from "./painter.js";
import { Sway } from "./sway.js";

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
  #moods = null;
  #mood = NEUTRAL;
  /** The still that is moved. @type {HTMLImageElement | null} */
  portrait = null;
  #ready = false;
  #frame = 0;
  #paintedAt = 0;
  #seenAt = 0;
  #blinks = new Blinks();
  #gestures = new Gestures();
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
    return this.#moods?.neutral.most ?? 0;
  }

  /** For tests: the mood that is shown most. */
  get mood() {
    return this.#moods?.shown ?? NEUTRAL;
  }

  /** Move with these lips. @param {import("./lips.js").Lips} lips */
  start(lips) {
    this.#lips = lips;
    lips.onAct = (act) => this.#act(act);
    this.#act(NEUTRAL);
    this.#load();
    cancelAnimationFrame(this.#frame);
    this.#tick(performance.now());
    if (this.#ready) this.onShown();
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    if (this.#lips) this.#lips.onAct = () => {};
    this.#lips = null;
  }

  #act(act) {
    if (isGesture(act)) { this.#gestures.begin(act, performance.now() / 1000); return; }
    this.#mood = act;
    this.#moods?.wear(act);
  }

  /** Whether there is time, and leave, to fetch what nobody needs yet. */
  get #idles() {
    return this.#lips !== null && this.activity !== "speaking" && !navigator.connection?.saveData;
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
      this.#moods?.close();
      this.#moods = atlas && new Moods(mouths, atlas, () => this.#idles);
      this.#moods?.wear(this.#mood);
      this.portrait = portrait;
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
    const moves = this.#moods?.follow(row, this.#lips?.names ?? [], (now - this.#seenAt) / 1000) ?? false;
    this.#seenAt = now;
    const shut = this.#moods?.neutral.atlas.eyes ? this.#blinks.at(time) : 0;
    const still = !moves && shut === 0 && !this.#gestures.moves(time);
    if (!first && still && now - this.#paintedAt < SLOW_MS) return;
    if (!first && !moves && shut === 0 && this.#calm.matches && now - this.#paintedAt < 1000) return;
    const open = row ? Math.min(1, (row[this.#lips.names.indexOf("jawOpen")] ?? 0) / WIDE) : 0;
    const pose = this.#calm.matches ? STILL : this.#pose(time, open);
    this.#paintedAt = now;
    this.#painter.paint(this.#moods?.layers ?? [], shut, pose);
    this.#lips?.drew();
  }

  #pose(time, open) {
    const pose = this.#sway.at(time, this.activity, open, this.#mood);
    for (const [name, more] of Object.entries(this.#gestures.at(time))) pose[name] += more;
    return pose;
  }
}

async function firstPicture([path, ...others]) {
  try {
    return await loadPicture(path);
  } catch (failure) {
    if (others.length === 0) throw failure;
    return firstPicture(others);
  }
}
