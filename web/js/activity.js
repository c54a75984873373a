/** What the avatar is doing, as a pill, as the colour of the ring, and for screen readers. */
import { has, onLanguage, t } from "./i18n.js";

export class Activity {
  #pill;
  #portrait;
  #content = "";
  status = "idle";
  #voices = { mine: 0, theirs: 0 };

  /** @param {HTMLElement} pill @param {HTMLElement} portrait the element whose ring answers to the voices */
  constructor(pill, portrait) {
    this.#pill = pill;
    this.#portrait = portrait;
    onLanguage(() => this.#write());
  }

  /** `status`: one of the server's words; `content`: its own text, for words that this page doesn't know. */
  set(status, content = "") {
    this.status = status || "idle";
    this.#content = content;
    this.#write();
    this.#glow();
  }

  /** Loudness of the user's and of the avatar's voice, 0..1. */
  voice(levels) {
    Object.assign(this.#voices, levels);
    this.#glow();
  }

  #write() {
    document.body.dataset.activity = this.status;
    this.#pill.dataset.state = this.status;
    const key = `state.${this.status}`;
    this.#pill.querySelector(".state-text").textContent = has(key) ? t(key) : this.#content;
  }

  #glow() {
    const level = this.status === "speaking" ? this.#voices.theirs : this.#voices.mine;
    this.#portrait.style.setProperty("--voice", level.toFixed(2));
  }
}
