/** The picture: the video element or what is composed of it, its light on the room, and a way out when sound is forbidden. */
import { Cutout } from "./cutout.js";

const LIGHT_PERIOD_MS = 4000;
/** Browsers show a black dot of two by two pixels for a track that has not begun. */
const NO_PICTURE = 16;
/** The picture is looked at through this many points in each direction; enough for a tint. */
const POINTS = 8;
/** Another connection that shows nothing for so long is not waited for any more. */
const FREEZE_MS = 4000;
const FADE_MS = 320;

export class Stage {
  #video;
  #unmute;
  #ambient;
  #frozen;
  #cutout;
  #lens = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  #timer = 0;
  #thawing = 0;
  /** Width by height of the avatar's pictures; twice that means that a matte comes beside them. */
  ratio = 1;

  /** @param {{video: HTMLVideoElement, unmute: HTMLElement, ambient: HTMLElement, cutout: HTMLElement, frozen: HTMLCanvasElement}} parts */
  constructor({ video, unmute, ambient, cutout, frozen }) {
    this.#video = video;
    this.#unmute = unmute;
    this.#ambient = ambient;
    this.#frozen = frozen;
    this.#cutout = new Cutout(video, cutout);
    this.#lens.canvas.width = POINTS;
    this.#lens.canvas.height = POINTS;
    unmute.addEventListener("click", () => {
      video.muted = false;
      unmute.hidden = true;
      this.#play();
    });
    for (const event of ["playing", "resize"]) video.addEventListener(event, () => this.#look());
  }

  show(stream) {
    if (this.#video.srcObject !== stream) {
      this.#freeze();
      this.#video.srcObject = stream;
    }
    this.#play();
  }

  clear() {
    clearInterval(this.#timer);
    this.#thaw();
    this.#cutout.stop();
    this.#video.closest(".screen").dataset.cutout = "false";
    this.#video.srcObject = null;
    this.#video.dataset.live = "false";
    this.#unmute.hidden = true;
    this.#ambient.dataset.lit = "false";
  }

  async #play() {
    try {
      await this.#video.play();
    } catch (failure) {
      // AbortError only means that a newer stream came meanwhile.
      if (failure.name !== "NotAllowedError") return;
      this.#unmute.hidden = false;
      this.#video.muted = true;
      this.#video.play().catch(() => {});
    }
  }

  /** The last picture stays over a change of connections, until the first one of the next. */
  #freeze() {
    const source = this.#cutout.canvas ?? this.#video;
    const [width, height] = source === this.#video ? [source.videoWidth, source.videoHeight] : [source.width, source.height];
    if (this.#video.dataset.live !== "true" || width <= NO_PICTURE) return;
    this.#frozen.width = width;
    this.#frozen.height = height;
    this.#frozen.getContext("2d").drawImage(source, 0, 0);
    this.#frozen.hidden = false;
    this.#frozen.dataset.fading = "false";
    clearTimeout(this.#thawing);
    this.#thawing = setTimeout(() => this.#thaw(), FREEZE_MS);
  }

  #thaw() {
    clearTimeout(this.#thawing);
    this.#frozen.dataset.fading = "true";
    this.#thawing = setTimeout(() => { this.#frozen.hidden = true; }, FADE_MS);
  }

  #look() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const live = width > NO_PICTURE;
    this.#video.dataset.live = String(live);
    if (!live) return;
    const matted = Math.abs(width / height - 2 * this.ratio) < Math.abs(width / height - this.ratio);
    if (matted) this.#cutout.start();
    else this.#cutout.stop();
    this.#video.closest(".screen").dataset.cutout = String(matted);
    this.#thaw();
    this.#light(!matted);
  }

  /** The colours of the picture tint the room, as a screen's light does. Who stands in the room itself gives none. */
  #light(on) {
    clearInterval(this.#timer);
    if (!on) { this.#ambient.dataset.lit = "false"; return; }
    const draw = () => {
      if (document.hidden || this.#video.readyState < 2) return;
      this.#lens.drawImage(this.#video, 0, 0, POINTS, POINTS);
      const points = this.#lens.getImageData(0, 0, POINTS, POINTS).data;
      const half = points.length / 2;
      this.#ambient.style.setProperty("--light-above", mean(points.subarray(0, half)));
      this.#ambient.style.setProperty("--light-below", mean(points.subarray(half)));
      this.#ambient.dataset.lit = "true";
    };
    draw();
    this.#timer = setInterval(draw, LIGHT_PERIOD_MS);
  }
}

/** The mean colour of RGBA points, as CSS. */
function mean(points) {
  const sums = [0, 0, 0];
  points.forEach((value, index) => { if (index % 4 < 3) sums[index % 4] += value; });
  return `rgb(${sums.map((sum) => Math.round((sum * 4) / points.length)).join(" ")})`;
}
