/** What lies over the picture while there is none: waiting, or an error with a way on. */
import { onLanguage } from "./i18n.js";

export class Curtain {
  #element;
  #content = null;

  constructor(element) {
    this.#element = element;
    onLanguage(() => this.#write());
  }

  get shown() {
    return !this.#element.hidden;
  }

  /** `content`: () => {title, text?, action?}, asked again when the language changes; `action`: words of the button. */
  wait(content) {
    this.#show("wait", "", content);
  }

  /** Nothing to wait for and nothing wrong. */
  rest(content) {
    this.#show("rest", "", content);
  }

  error(code, content) {
    this.#show("error", code, content);
    this.#element.querySelector("button").focus({ preventScroll: true });
  }

  hide() {
    this.#content = null;
    this.#element.hidden = true;
  }

  #show(kind, code, content) {
    this.#content = content;
    this.#element.dataset.kind = kind;
    this.#element.dataset.code = code;
    this.#element.hidden = false;
    this.#write();
  }

  #write() {
    if (!this.#content) return;
    const { title, text = "", action = "" } = this.#content();
    this.#element.querySelector(".curtain-title").textContent = title;
    this.#element.querySelector(".curtain-text").textContent = text;
    this.#element.querySelector("button").textContent = action;
  }
}
