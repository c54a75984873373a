/** Earlier conversations, quietly above the present one. */
import { Bubble } from "./bubble.js";
import { avatarName, clock, day, onLanguage, t } from "./i18n.js";

export class Earlier {
  #box;
  #bubbles = [];
  /** Elements and what gives their text. */
  #headings = [];

  /** @param {HTMLElement} box */
  constructor(box) {
    this.#box = box;
    onLanguage(() => this.#relabel());
  }

  get empty() {
    return this.#bubbles.length === 0;
  }

  /** @param {{at: number | null, entries: object[]}[]} conversations as in storage.js, oldest first */
  show(conversations) {
    this.#bubbles = [];
    this.#headings = [];
    const parts = [];
    for (const { at, entries } of conversations.filter((one) => one.entries.length > 0)) {
      const since = entries[0].at ?? at;
      parts.push(this.#heading(() => (since === null ? t("chat.earlier") : `${day(new Date(since))}, ${clock(new Date(since))}`)));
      for (const entry of entries) parts.push(this.#bubble(entry));
    }
    if (parts.length > 0) parts.push(this.#heading(() => t("chat.now")));
    this.#box.replaceChildren(...parts);
    this.#box.hidden = parts.length === 0;
  }

  #heading(words) {
    const heading = document.createElement("h3");
    heading.className = "divider";
    const span = document.createElement("span");
    span.textContent = words();
    heading.append(span);
    this.#headings.push({ span, words });
    return heading;
  }

  #bubble({ role, state, text, who, at }) {
    const still = { following: (change) => change(), changed: () => {} };
    const name = role === "user" ? "" : who || avatarName();
    const bubble = new Bubble(still, { role, state, text, who: name, at: at === null ? null : new Date(at) });
    this.#bubbles.push(bubble);
    return bubble.element;
  }

  #relabel() {
    for (const { span, words } of this.#headings) span.textContent = words();
    for (const bubble of this.#bubbles) bubble.relabel();
  }
}
