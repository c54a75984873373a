/** The picture: the video, what is composed of it, or the page's own drawing; its light on the room, and a way out when sound is forbidden. */
import { Cutout } from "./cutout.js";
import { wakeAudio } from "./sound/context.js";

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
  #puppet;
  /** What is played without WebRTC. */
  #player = null;
  #lens = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  #timer = 0;
  #thawing = 0;
  /** Width by height of the avatar's pictures; twice that means that a matte comes beside them. */
  ratio = 1;

  /**
   * @param {{video: HTMLVideoElement, unmute: HTMLElement, ambient: HTMLElement, cutout: HTMLElement, frozen: HTMLCanvasElement,
   *          puppet: import("./puppet/puppet.js").Puppet}} parts
   */
  constructor({ video, unmute, ambient, cutout, frozen, puppet }) {
    this.#video = video;
    this.#unmute = unmute;
    this.#ambient = ambient;
    this.#frozen = frozen;
    this.#cutout = new Cutout(video, cutout);
    this.#lens.canvas.width = POINTS;
    this.#lens.canvas.height = POINTS;
    this.#puppet = puppet;
    puppet.onChange = () => this.#freeze();
    puppet.onShown = () => this.#lookAtPuppet();
    unmute.addEventListener("click", () => {
      if (this.#player) { wakeAudio(); this.#player.wake(); return; }
      video.muted = false;
      unmute.hidden = true;
      this.#play();
    });
    for (const event of ["playing", "resize"]) video.addEventListener(event, () => this.#look());
  }

  /** Without WebRTC: the page draws the presenter itself, moved by `lips`. */
  perform({ player, lips }) {
    this.#freeze();
    this.#leaveVideo();
    this.#player = player;
    player.onSilent = (silent) => { this.#unmute.hidden = !silent; };
    this.#unmute.hidden = !player.silent;
    this.#puppet.canvas.hidden = false;
    this.#puppet.start(lips);
  }

  show(stream) {
    if (this.#video.srcObject !== stream) {
      this.#freeze();
      this.#leavePuppet();
      this.#video.srcObject = stream;
    }
    this.#play();
  }

  clear() {
    clearInterval(this.#timer);
    this.#thaw();
    this.#leaveVideo();
    this.#leavePuppet();
    this.#unmute.hidden = true;
    this.#ambient.dataset.lit = "false";
  }

  #leaveVideo() {
    this.#cutout.stop();
    this.#screen.dataset.cutout = "false";
    this.#video.srcObject = null;
    this.#video.dataset.live = "false";
  }

  #leavePuppet() {
    this.#puppet.stop();
    this.#puppet.canvas.hidden = true;
    this.#screen.dataset.puppet = "false";
    if (this.#player) this.#player.onSilent = () => {};
    this.#player = null;
  }

  get #screen() {
    return this.#video.closest(".screen");
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
    const source = this.#puppet.shown ? this.#puppet.canvas : (this.#cutout.canvas ?? this.#video);
    const [width, height] = source === this.#video ? [source.videoWidth, source.videoHeight] : [source.width, source.height];
    if ((!this.#puppet.shown && this.#video.dataset.live !== "true") || width <= NO_PICTURE) return;
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
    this.#screen.dataset.cutout = String(matted);
    this.#thaw();
    this.#light(matted ? null : this.#video);
  }

  #lookAtPuppet() {
    this.#screen.dataset.puppet = "true";
    this.#thaw();
    // Its still, not the canvas: to read that back would hold up everything, the sound too.
    this.#light(this.#puppet.opaque ? this.#puppet.portrait : null);
  }

  /** The colours of the picture tint the room, as a screen's light does. Who stands in the room itself gives none. */
  #light(source) {
    clearInterval(this.#timer);
    if (!source) { this.#ambient.dataset.lit = "false"; return; }
    const draw = () => {
      if (document.hidden || (source === this.#video && source.readyState < 2)) return;
      this.#lens.drawImage(source, 0, 0, POINTS, POINTS);
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
