/** The log of the conversation. */
import { Bubble } from "./bubble.js";
import { align } from "./history.js";
import { onLanguage } from "./i18n.js";

/** Nearer to the end than this counts as "reading the newest". */
const FOLLOW_PX = 80;

export class Chat {
  #list;
  #scroll;
  #dots;
  /** Bubbles by element. */
  #bubbles = new Map();
  /** Called when messages come or go. */
  onChange = () => {};

  /** @param {HTMLElement} list the element that takes the messages; its parent scrolls */
  constructor(list) {
    this.#list = list;
    this.#scroll = list.parentElement;
    this.#dots = this.#scroll.querySelector(".waiting");
    onLanguage(() => { for (const bubble of this.#bubbles.values()) bubble.relabel(); });
  }

  /** Three dots below the log: an answer is being thought of. */
  set waiting(waiting) {
    this.following(() => { this.#dots.hidden = !waiting; });
  }

  get empty() {
    return this.#list.childElementCount === 0;
  }

  /** @returns {Bubble} see there; `who`: name shown above */
  add(role, state, text, who = "", at = new Date()) {
    const bubble = this.#make({ role, state, text, who, at });
    this.following(() => this.#list.append(bubble.element), role === "user");
    this.changed();
    return bubble;
  }

  /** The bubble that this message completed. */
  find(number) {
    return [...this.#bubbles.values()].find((bubble) => bubble.number === number) ?? null;
  }

  /** Show kept entries (see storage.js), oldest first, below what is there. */
  paint(entries) {
    for (const entry of entries) this.#list.append(this.#restore(entry).element);
    this.changed();
    this.toEnd();
  }

  /**
   * Put what is missing of kept entries, oldest first, in its place, and times to what has none.
   * @returns {Bubble[]} what came or changed
   */
  fill(entries) {
    const shown = this.#inOrder().filter((bubble) => bubble.complete);
    const places = align(shown, entries);
    const touched = [];
    let after = null;
    this.following(() => {
      for (const [index, entry] of entries.entries()) {
        let bubble = shown[places[index]];
        if (!bubble) {
          bubble = this.#restore(entry);
          if (after) after.element.after(bubble.element); else this.#list.prepend(bubble.element);
          touched.push(bubble);
        } else if (bubble.at === null && entry.at !== null) {
          bubble.at = new Date(entry.at);
          touched.push(bubble);
        }
        after = bubble;
      }
    });
    this.changed();
    return touched;
  }

  /** Empty the log, or up to a message's number. What is being said stays: it is no history yet. */
  clear(before = Infinity) {
    for (const bubble of this.#inOrder()) {
      const older = before === Infinity || (typeof bubble.number === "number" && bubble.number < before);
      if (older && !["partial", "speaking"].includes(bubble.state)) bubble.remove();
    }
  }

  /** The whole conversation as plain text. */
  transcript() {
    const lines = [];
    for (const element of this.#list.querySelectorAll('.message:not([data-state="partial"])')) {
      const said = element.querySelector(".said").textContent.trim();
      const [name, time] = element.querySelector(".who").children;
      const when = time.textContent && `[${time.textContent}] `;
      if (said) lines.push(when + (name.textContent ? `${name.textContent}: ${said}` : said));
    }
    return lines.join("\n");
  }

  changed() {
    for (const element of this.#bubbles.keys()) if (!element.isConnected) this.#bubbles.delete(element);
    this.onChange();
  }

  toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  /** Do `change` and stay at the newest message, unless the reader has scrolled back. */
  following(change, always = false) {
    const box = this.#scroll;
    const follow = always || box.scrollHeight - box.scrollTop - box.clientHeight < FOLLOW_PX;
    change();
    if (follow) this.toEnd();
  }

  #inOrder() {
    return [...this.#list.children].map((element) => this.#bubbles.get(element));
  }

  #make(content) {
    const bubble = new Bubble(this, content);
    this.#bubbles.set(bubble.element, bubble);
    return bubble;
  }

  #restore({ id, at, ...content }) {
    const bubble = this.#make({ ...content, at: at === null ? null : new Date(at) });
    bubble.number = id;
    return bubble;
  }
}
