/** The picture: the video element, its light on the room, and a way out when the browser forbids sound. */

const LIGHT_PERIOD_MS = 4000;
/** Browsers show a black dot of two by two pixels for a track that has not begun. */
const NO_PICTURE = 16;
/** The picture is looked at through this many points in each direction; enough for a tint. */
const POINTS = 8;

export class Stage {
  #video;
  #unmute;
  #ambient;
  #lens = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  #timer = 0;

  constructor(video, unmute, ambient) {
    this.#video = video;
    this.#unmute = unmute;
    this.#ambient = ambient;
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
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
    this.#play();
  }

  clear() {
    clearInterval(this.#timer);
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

  #look() {
    const live = this.#video.videoWidth > NO_PICTURE;
    this.#video.dataset.live = String(live);
    if (live) this.#light();
  }

  /** The colours of the picture tint the room, as a screen's light does. */
  #light() {
    clearInterval(this.#timer);
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
