/** Who is shown and before what: what the server offers, what the user chose, and what is really shown. */
import { readPresenters } from "./api.js";
import { isDrawn } from "./backdrop.js";

const KEPT = "eman.look";

/** Events: offered (the lists are there), chosen (the user wants something else), changed (something else is current). */
export class Look extends EventTarget {
  #enabled;
  #chosen;
  #shown = { avatar: "", background: "" };
  /** The choice that the server took last. */
  #accepted = { avatar: "", background: "" };
  presenters = [];
  backgrounds = [];
  /** Addresses of thumbnails, by the names of those backgrounds that are pictures. */
  thumbnails = {};

  /**
   * @param {() => boolean} enabled whether choices may be kept in this browser
   * @param {URLSearchParams} link its `avatar` and `background` win over what was kept
   */
  constructor(enabled, link) {
    super();
    this.#enabled = enabled;
    const kept = enabled() ? recall() : {};
    this.#chosen = { avatar: link.get("avatar") ?? kept.avatar ?? "", background: link.get("background") ?? kept.background ?? "" };
  }

  /** Learn what the server offers; a choice of the past that is no longer offered is dropped. */
  async load() {
    const { presenters, backgrounds, background_pictures: thumbnails } = await readPresenters();
    this.presenters = presenters;
    this.backgrounds = backgrounds;
    this.thumbnails = thumbnails;
    if (!this.#known(this.#chosen.avatar, presenters.map(({ name }) => name))) this.#chosen.avatar = "";
    if (!isDrawn(this.#chosen.background) && !this.#known(this.#chosen.background, backgrounds)) this.#chosen.background = "";
    this.#tell("offered");
    this.#tell("changed");
  }

  /** What a new conversation asks for; what is left out is the server's choice. */
  get wish() {
    return Object.fromEntries(Object.entries(this.#chosen).filter(([, value]) => value));
  }

  /** @returns {{avatar: string, background: string}} what is shown, or will be */
  get current() {
    return {
      avatar: this.#chosen.avatar || this.#shown.avatar || (this.presenters[0]?.name ?? ""),
      background: this.#chosen.background || this.#shown.background || "studio",
    };
  }

  get presenter() {
    return this.presenters.find(({ name }) => name === this.current.avatar) ?? null;
  }

  /** The user's choice of one or both. */
  choose(part) {
    const before = this.current;
    this.#chosen = { ...this.#chosen, ...part };
    this.keep();
    if (before.avatar === this.current.avatar && before.background === this.current.background) return;
    this.#tell("changed");
    this.#tell("chosen");
  }

  /** The server says what it shows. */
  tell({ avatar = "", background = "" }) {
    this.#shown = { avatar, background };
    // A conversation that is taken up again keeps its look: what is shown wins over what was chosen for a new one.
    for (const [key, value] of Object.entries(this.#shown)) if (this.#chosen[key] && value) this.#chosen[key] = value;
    this.#accepted = { ...this.#chosen };
    this.#tell("changed");
  }

  /** Back to what the server took: the choice can't be had. */
  revert() {
    this.#chosen = { ...this.#accepted };
    this.keep();
    this.#tell("changed");
  }

  /** Remember the choice in this browser, or forget it where nothing may be kept. */
  keep() {
    try {
      if (this.#enabled() && Object.keys(this.wish).length > 0) localStorage.setItem(KEPT, JSON.stringify(this.wish));
      else localStorage.removeItem(KEPT);
    } catch { /* then it lasts as long as the page */ }
  }

  #known(name, names) {
    return name === "" || names.length === 0 || names.includes(name);
  }

  #tell(name) {
    this.dispatchEvent(new Event(name));
  }
}

function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    return Object.fromEntries(["avatar", "background"].map((key) => [key, typeof kept?.[key] === "string" ? kept[key] : ""]));
  } catch { return {}; }
}
