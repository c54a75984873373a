/** The text box. */
import { t } from "./i18n.js";

/** Show the counter when this part of the limit is used. */
const NEARLY = 0.8;

export class Composer {
  #form;
  #box;
  #button;
  #counter;
  #ready = false;
  limit = 4000;
  /** Called with the text; a promise of true clears the box for good, false brings the text back. */
  onSend = async () => true;

  constructor(form) {
    this.#form = form;
    this.#box = form.querySelector("textarea");
    this.#button = form.querySelector("button");
    this.#counter = form.querySelector(".counter");
    form.addEventListener("submit", (event) => { event.preventDefault(); this.#submit(); });
    this.#box.addEventListener("input", () => this.#refresh());
    this.#box.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a candidate.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
  }

  set ready(ready) {
    this.#ready = ready;
    this.#refresh();
  }

  focus() {
    this.#box.focus({ preventScroll: true });
  }

  async #submit() {
    const text = this.#box.value.trim();
    if (!this.#sendable(text)) return;
    this.#box.value = "";
    this.#refresh();
    if (await this.onSend(text)) return;
    if (!this.#box.value) this.#box.value = text;
    this.#refresh();
  }

  #sendable(text) {
    return this.#ready && text.length > 0 && text.length <= this.limit;
  }

  #refresh() {
    const { length } = this.#box.value.trim();
    const over = length > this.limit;
    this.#button.disabled = !this.#sendable(this.#box.value.trim());
    this.#counter.hidden = length < this.limit * NEARLY;
    this.#counter.textContent = `${length} / ${this.limit}`;
    this.#counter.dataset.over = String(over);
    this.#box.setAttribute("aria-invalid", String(over));
    this.#box.title = over ? t("chat.too_long", { limit: this.limit }) : "";
    this.#grow();
  }

  /** For browsers without field-sizing. */
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#box.style.setProperty("height", "auto");
    this.#box.style.setProperty("height", `${this.#box.scrollHeight}px`);
  }
}
