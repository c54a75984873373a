/** The page as a whole: what is shown, usable and announced in each phase of the connection. */
import { describe } from "./failure.js";
import { currentLanguage, onLanguage, t } from "./i18n.js";

/** After hanging up, the conversation stays in view beside the first screen: the same width as in welcome.css. */
const BESIDE = "(min-width: 1000px)";

const $ = (id) => document.getElementById(id);

/** A picture that stands still for less than this is no news. */
const PATIENCE_MS = 1500;

/** Shown while the connection is being made or mended. */
const WAITING = {
  asking: () => ({ title: t("curtain.asking"), text: t("curtain.asking.text") }),
  connecting: () => ({ title: t("curtain.connecting") }),
  reconnecting: (more) => ({ title: t("curtain.reconnecting"), text: t("curtain.reconnecting.text", more) }),
};

export class Room {
  #curtain;
  #late = 0;
  #more = {};
  #listening = true;
  phase = "welcome";

  /** @param {import("./curtain.js").Curtain} curtain */
  constructor(curtain) {
    this.#curtain = curtain;
    onLanguage(() => this.#write());
  }

  /** The avatar is here. */
  get live() {
    return this.phase === "connected";
  }

  /** One can take part, be the avatar here or elsewhere. */
  get joined() {
    return this.live || this.phase === "elsewhere";
  }

  /**
   * Phases: welcome, asking (for the microphone), and those of a session.
   * @param {{error?: Error, attempt?: number, limit?: number, moved?: boolean}} more as in the session's phase event
   */
  enter(phase, more = {}) {
    const left = this.phase === "elsewhere" && phase === "ended";
    this.phase = phase;
    this.#more = more;
    document.body.dataset.phase = phase;
    const welcoming = phase === "ended" || phase === "welcome";
    const started = !welcoming && $("welcome").contains(document.activeElement);
    $("welcome").inert = !welcoming;
    $("stage").inert = welcoming;
    if (started) $("stage").focus({ preventScroll: true }); // the next Tab is to reach its buttons, not the top of the page
    $("chat").inert = phase === "welcome" || (phase === "ended" && !matchMedia(BESIDE).matches);
    $("ended").hidden = phase !== "ended";
    $("ended").dataset.i18n = left ? "welcome.left" : "welcome.ended";
    $("ended").textContent = t(left ? "welcome.left" : "welcome.ended");
    for (const element of document.querySelectorAll("#interrupt, #upload, .chip")) element.disabled = !this.joined;
    for (const element of document.querySelectorAll("#mic, #ptt")) element.disabled = phase === "elsewhere";
    $("share").hidden = !this.joined;
    this.#draw();
    this.#write();
    if (phase !== "welcome") this.#announce(more.error);
    if (phase === "ended") $("start").focus({ preventScroll: true });
  }

  /** Whether messages come: all that a window without the avatar is connected by. */
  channel(open) {
    this.#listening = open;
    this.#write();
  }

  #draw() {
    const { phase } = this;
    if (phase === "reconnecting" && !this.#curtain.shown) {
      this.#late ||= setTimeout(() => this.#drawNow(), PATIENCE_MS);
      return;
    }
    this.#drawNow();
  }

  #drawNow() {
    clearTimeout(this.#late);
    this.#late = 0;
    const { phase } = this;
    if (phase in WAITING) this.#curtain.wait(() => WAITING[phase](this.#more));
    else if (phase === "failed") this.#curtain.error(this.#more.error.code, () => ({ ...describe(this.#more.error), action: t("curtain.retry") }));
    else if (phase === "elsewhere") this.#curtain.rest(() => this.#elsewhere());
    else this.#curtain.hide();
  }

  #elsewhere() {
    if (this.#more.moved) return { title: t("curtain.moved"), text: t("curtain.moved.text"), action: t("curtain.moved.back") };
    return { title: t("curtain.beside"), text: t("curtain.beside.text"), action: t("curtain.beside.bring") };
  }

  #announce(error) {
    const { title, text } = error ? describe(error) : { title: $("connection").textContent, text: "" };
    $("status").textContent = `${title} ${text}`.trim();
  }

  #write() {
    const word = { welcome: "idle", asking: "connecting", ended: "closed", elsewhere: this.#listening ? "connected" : "reconnecting" }[this.phase] ?? this.phase;
    $("connection").dataset.state = word;
    $("connection").querySelector(".readout-text").textContent = t(`connection.${word}`);
    const leave = t(this.phase === "elsewhere" ? "dock.leave" : "dock.hangup");
    $("hangup").querySelector(".caption").textContent = leave;
    $("hangup").setAttribute("aria-label", leave);
    $("hangup").title = leave;
    const start = $("start");
    start.textContent = t(this.phase === "ended" ? "welcome.again" : "welcome.start");
    const language = $("language");
    language.querySelector(".language-name").textContent = t("language.switch");
    language.setAttribute("aria-label", t("language.switch.label"));
    language.title = t("language.switch.label");
    language.lang = currentLanguage() === "zh" ? "en" : "zh-CN";
  }
}
