/** The picture: the video element, its light on the room, and a way out when the browser forbids sound. */

const LIGHT_PERIOD_MS = 4000;

export class Stage {
  #video;
  #unmute;
  #ambient;
  #timer = 0;

  constructor(video, unmute, ambient) {
    this.#video = video;
    this.#unmute = unmute;
    this.#ambient = ambient;
    unmute.addEventListener("click", () => {
      video.muted = false;
      unmute.hidden = true;
      this.#play();
    });
    video.addEventListener("playing", () => this.#light());
  }

  set poster(url) {
    this.#video.poster = url;
  }

  show(stream) {
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
    this.#play();
  }

  clear() {
    clearInterval(this.#timer);
    this.#video.srcObject = null;
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

  /** A few pixels of the picture, stretched over the page, tint the room; cheap because it's eight by eight. */
  #light() {
    clearInterval(this.#timer);
    const draw = () => {
      if (document.hidden || this.#video.readyState < 2) return;
      const { width, height } = this.#ambient;
      this.#ambient.getContext("2d").drawImage(this.#video, 0, 0, width, height);
      this.#ambient.dataset.lit = "true";
    };
    draw();
    this.#timer = setInterval(draw, LIGHT_PERIOD_MS);
  }
}
