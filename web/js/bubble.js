/** One message of a log as an element. */
import { clock, t } from "./i18n.js";

const WIDE_END = /[\u3000-\u9fff\uff00-\uffef]$/;

/** `state`: partial, final, speaking, done, interrupted or error. */
export class Bubble {
  #said;
  #time;
  #log;
  #at = null;
  #who;
  /** Number of the message that completed it, or another name that all tabs share; null: unknown. */
  number = null;

  /**
   * @param {{following: (change: () => void) => void, changed: () => void}} log what it is part of
   * @param {{role: "user" | "avatar" | "system", state: string, text: string, who?: string, at?: Date | null}} content
   *        `at` null: nobody knows when
   */
  constructor(log, { role, state, text, who = "", at = null }) {
    this.#log = log;
    this.#who = who;
    this.role = role;
    this.element = document.createElement("div");
    this.element.className = "message";
    this.element.dataset.role = role;
    this.#said = document.createElement("div");
    this.#said.className = "said";
    this.#said.dir = "auto";
    this.#said.textContent = text;
    this.element.append(this.#head(), this.#said);
    this.at = at;
    this.setState(state);
  }

  get text() {
    return this.#said.textContent.trim();
  }

  get state() {
    return this.element.dataset.state;
  }

  get complete() {
    return this.role !== "system" && ["final", "done", "interrupted"].includes(this.state);
  }

  get at() {
    return this.#at;
  }

  set at(at) {
    this.#at = at;
    this.relabel();
  }

  /** As it is kept; see storage.js. */
  get entry() {
    const { number: id, role, text, state } = this;
    return { id, role, who: this.#who, text, at: this.#at?.getTime() ?? null, state };
  }

  /** Write the time as the language does. */
  relabel() {
    this.#time.textContent = this.#at ? clock(this.#at) : "";
    if (this.#at) this.#time.dateTime = this.#at.toISOString();
  }

  setState(state) {
    this.element.dataset.state = state;
    this.element.querySelector(".mark")?.remove();
    if (state !== "interrupted") return;
    const mark = document.createElement("div");
    mark.className = "mark";
    mark.dataset.i18n = "chat.interrupted";
    mark.textContent = t("chat.interrupted");
    this.element.append(mark);
  }

  setText(text) {
    this.#log.following(() => { this.#said.textContent = text; });
  }

  /** Add a sentence, as its own node so that a screen reader says only what is new. */
  append(sentence) {
    this.#log.following(() => {
      const before = this.text;
      const span = document.createElement("span");
      span.textContent = (before && !WIDE_END.test(before) ? " " : "") + sentence.trim();
      this.#said.append(span);
    });
  }

  /** Show how far a transfer is, 0..1; null takes the bar away. */
  setProgress(part) {
    let bar = this.element.querySelector("progress");
    if (part === null) { bar?.remove(); return; }
    if (!bar) {
      bar = document.createElement("progress");
      bar.max = 1;
      this.element.append(bar);
    }
    bar.value = part;
  }

  remove() {
    this.element.remove();
    this.#log.changed();
  }

  #head() {
    const head = document.createElement("div");
    head.className = "who";
    const name = document.createElement("span");
    name.textContent = this.role === "user" ? t("chat.you") : this.#who;
    if (this.role === "user") name.dataset.i18n = "chat.you";
    this.#time = document.createElement("time");
    head.append(name, this.#time);
    return head;
  }
}
