/** The round buttons, and what the keyboard does in their place. */
import { onLanguage, t } from "./i18n.js";

/** Where Space and letters have a meaning of their own. */
const TAKEN = "button, a, input, textarea, select, summary, [contenteditable], .chat-scroll";

export class Controls {
  #microphone;
  #mic;
  #ptt;
  #talk;
  #actions;

  /**
   * @param {import("./microphone.js").Microphone} microphone
   * @param {{mic: HTMLElement, ptt: HTMLElement, talk: HTMLElement, interrupt: HTMLElement, upload: HTMLElement, hangup: HTMLElement}} buttons
   * @param {{live: () => boolean, needMicrophone: Function, interrupt: Function, upload: Function, hangup: Function}} actions
   */
  constructor(microphone, buttons, actions) {
    this.#microphone = microphone;
    this.#mic = buttons.mic;
    this.#ptt = buttons.ptt;
    this.#talk = buttons.talk;
    this.#actions = actions;
    onClick(buttons.mic, () => this.#toggle());
    onClick(buttons.ptt, () => this.#togglePushToTalk());
    onClick(buttons.interrupt, actions.interrupt);
    onClick(buttons.upload, actions.upload);
    onClick(buttons.hangup, actions.hangup);
    this.#holdable(buttons.talk);
    document.addEventListener("keydown", (event) => this.#down(event));
    document.addEventListener("keyup", (event) => this.#up(event));
    window.addEventListener("blur", () => microphone.release());
    onLanguage(() => this.refresh());
  }

  /** Show what the microphone is doing. */
  refresh() {
    const { available, mode, held } = this.#microphone;
    const word = available ? (mode === "off" ? "off" : "on") : "none";
    this.#mic.setAttribute("aria-pressed", String(mode !== "off"));
    this.#mic.dataset.mode = mode;
    this.#mic.setAttribute("aria-label", t(`dock.mic.${word}.label`));
    this.#mic.title = t(`dock.mic.${word}.label`);
    this.#mic.querySelector(".caption").textContent = t(`dock.mic.${word}`);
    this.#ptt.setAttribute("aria-pressed", String(mode === "push_to_talk"));
    this.#talk.hidden = mode !== "push_to_talk";
    this.#talk.setAttribute("aria-pressed", String(held));
  }

  level(value) {
    this.#mic.style.setProperty("--level", value.toFixed(2));
  }

  async #toggle() {
    if (this.#microphone.available) this.#microphone.toggle();
    else await this.#actions.needMicrophone();
  }

  async #togglePushToTalk() {
    if (!this.#microphone.available) await this.#actions.needMicrophone();
    this.#microphone.setMode(this.#microphone.mode === "push_to_talk" ? "open" : "push_to_talk");
  }

  #holdable(button) {
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.#microphone.press();
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(end, () => this.#microphone.release());
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) this.#microphone.press();
    });
    button.addEventListener("keyup", (event) => (event.key === " " || event.key === "Enter") && this.#microphone.release());
  }

  #down(event) {
    if (event.target.closest?.("dialog")) return;
    if (event.ctrlKey || event.metaKey || event.altKey || !this.#actions.live()) return;
    if (event.key === "Escape" && !event.isComposing) this.#actions.interrupt();
    if (event.target.closest?.(TAKEN)) return;
    if (event.code === "Space") {
      event.preventDefault();
      if (!event.repeat) this.#microphone.press();
    } else if (event.key.toLowerCase() === "m" && !event.repeat) {
      this.#toggle();
    }
  }

  #up(event) {
    if (event.code === "Space") this.#microphone.release();
  }
}

/** A mouse click must not leave the focus on the button, or Space would press it again instead of opening the microphone. */
function onClick(button, run) {
  button.addEventListener("click", (event) => {
    if (event.detail > 0) button.blur();
    run();
  });
}
