/** The way that sound and picture take: WebRTC, or the message channel where that does not work or is not wanted. */
import { workletsPossible } from "./sound/context.js";

const KEPT = "eman.transport";
const CHOICES = ["auto", "webrtc", "websocket"];

/** Events: changed (something else was chosen, or WebRTC turned out not to work). */
export class Transport extends EventTarget {
  #enabled;
  #choice;
  #fallen = false;

  /**
   * @param {() => boolean} enabled whether choices may be kept in this browser
   * @param {URLSearchParams} link its `media` wins over what was kept
   */
  constructor(enabled, link) {
    super();
    this.#enabled = enabled;
    this.#choice = [link.get("media"), recall(), "auto"].find((choice) => CHOICES.includes(choice));
  }

  /** "auto": WebRTC, and without it where it does not work. */
  get choice() {
    return this.#choice;
  }

  /** @returns {"webrtc" | "websocket"} what a connection is made with */
  get mode() {
    return this.#choice === "websocket" || (this.#choice === "auto" && this.#fallen) ? "websocket" : "webrtc";
  }

  /** Whether there is another way when this one fails. */
  get another() {
    return this.#choice === "auto" && !this.#fallen && workletsPossible();
  }

  choose(choice) {
    this.#choice = choice;
    this.#fallen = false;
    this.keep();
    this.#tell();
  }

  /** WebRTC does not work here. */
  fall() {
    if (this.#choice === "webrtc") this.#choice = "auto";
    this.#fallen = true;
    this.#tell();
  }

  /** Try WebRTC again. */
  retry() {
    if (this.#choice === "websocket") this.#choice = "auto";
    this.#fallen = false;
    this.keep();
    this.#tell();
  }

  /** Go on as before a reload. */
  resume(mode) {
    this.#fallen = mode === "websocket" && this.#choice === "auto";
    this.#tell();
  }

  /** Remember the choice in this browser, or forget it where nothing may be kept. */
  keep() {
    try {
      if (this.#enabled() && this.#choice !== "auto") localStorage.setItem(KEPT, this.#choice);
      else localStorage.removeItem(KEPT);
    } catch { /* then it lasts as long as the page */ }
  }

  #tell() {
    this.dispatchEvent(new Event("changed"));
  }
}

function recall() {
  try { return localStorage.getItem(KEPT); } catch { return null; }
}
