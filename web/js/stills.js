/** The pictures that stand for the avatar where there is no video: on the first screen, and behind the curtain. */
import { address } from "./api.js";
import { cssOf, STUDIO, stillsOf, TRANSPARENT } from "./backdrop.js";

export class Stills {
  #look;
  #images;
  #wanted = "";

  /**
   * @param {import("./look.js").Look} look
   * @param {HTMLImageElement[]} images each in a frame, which shows the background
   */
  constructor(look, images) {
    this.#look = look;
    this.#images = images;
    look.addEventListener("changed", () => this.#draw());
  }

  /** Where the server has no presenters to choose from, it may have one picture; otherwise the drawn silhouette stays. */
  begin() {
    this.#show(["./poster.png"]);
  }

  #draw() {
    const { presenter, current } = this.#look;
    const css = cssOf(current.background);
    for (const image of this.#images) {
      image.parentElement.style.setProperty("--backdrop", css || "none");
      image.parentElement.dataset.bare = String(current.background === TRANSPARENT);
    }
    // The studio is also what stands for "nothing chosen yet": then the portrait is as the settings say.
    if (presenter) this.#show(current.background === STUDIO ? [presenter.portrait] : stillsOf(this.#look));
  }

  /** The first of these that there is; the one before stays until then. */
  #show([path, ...others]) {
    const wanted = String(address(path));
    this.#wanted = wanted;
    if (this.#images.every(({ src }) => src === wanted)) return;
    const picture = new Image();
    picture.onload = () => {
      if (this.#wanted !== wanted) return;
      for (const image of this.#images) {
        image.src = wanted;
        image.animate?.([{ opacity: 0.2 }, { opacity: 1 }], { duration: 260, easing: "ease-out" });
      }
    };
    picture.onerror = () => others.length > 0 && this.#wanted === wanted && this.#show(others);
    picture.src = wanted;
  }
}
