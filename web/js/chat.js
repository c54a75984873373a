/** The log of the conversation: message elements and nothing else. */
import { clock, onLanguage, t } from "./i18n.js";

const WIDE_END = /[\u3000-\u9fff\uff00-\uffef]$/;
/** Nearer to the end than this counts as "reading the newest". */
const FOLLOW_PX = 80;

/** One element of the log. `state`: partial, final, speaking, done, interrupted or error. */
export class Message {
  #said;
  #log;

  constructor(log, element, said) {
    this.#log = log;
    this.element = element;
    this.#said = said;
  }

  get text() {
    return this.#said.textContent.trim();
  }

  get state() {
    return this.element.dataset.state;
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
}

export class Chat {
  #list;
  #scroll;
  #dots;
  /** Called when messages come or go. */
  onChange = () => {};

  /** @param {HTMLElement} list the element that takes the messages; its parent scrolls */
  constructor(list) {
    this.#list = list;
    this.#scroll = list.parentElement;
    this.#dots = this.#scroll.querySelector(".waiting");
    onLanguage(() => this.#relabel());
  }

  /** Three dots below the log: an answer is being thought of. */
  set waiting(waiting) {
    this.following(() => { this.#dots.hidden = !waiting; });
  }

  get empty() {
    return this.#list.childElementCount === 0;
  }

  /** @returns {Message} `role`: user, avatar or system; `who`: name shown above, a key of the language tables or a name */
  add(role, state, text, who = "") {
    const now = new Date();
    const element = document.createElement("div");
    element.className = "message";
    element.dataset.role = role;
    const head = document.createElement("div");
    head.className = "who";
    const name = document.createElement("span");
    name.textContent = role === "user" ? t("chat.you") : who;
    if (role === "user") name.dataset.i18n = "chat.you";
    const time = document.createElement("time");
    time.dateTime = now.toISOString();
    time.textContent = clock(now);
    head.append(name, time);
    const said = document.createElement("div");
    said.className = "said";
    said.dir = "auto";
    said.textContent = text;
    element.append(head, said);
    const message = new Message(this, element, said);
    message.setState(state);
    this.following(() => this.#list.append(element), role === "user");
    this.changed();
    return message;
  }

  /** The whole conversation as plain text. */
  transcript() {
    const lines = [];
    for (const element of this.#list.querySelectorAll('.message:not([data-state="partial"])')) {
      const said = element.querySelector(".said").textContent.trim();
      const [name, time] = element.querySelector(".who").children;
      if (said) lines.push(name.textContent ? `[${time.textContent}] ${name.textContent}: ${said}` : `[${time.textContent}] ${said}`);
    }
    return lines.join("\n");
  }

  changed() {
    this.onChange();
  }

  /** Do `change` and stay at the newest message, unless the reader has scrolled back. */
  following(change, always = false) {
    const box = this.#scroll;
    const follow = always || box.scrollHeight - box.scrollTop - box.clientHeight < FOLLOW_PX;
    change();
    if (follow) box.scrollTop = box.scrollHeight;
  }

  #relabel() {
    for (const time of this.#list.querySelectorAll("time")) time.textContent = clock(new Date(time.dateTime));
  }
}
