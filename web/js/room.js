/** The page as a whole: what is shown, usable and announced in each phase of the connection. */
import { describe } from "./failure.js";
import { currentLanguage, onLanguage, t } from "./i18n.js";

/** After hanging up, the conversation stays in view beside the first screen: the same width as in welcome.css. */
const BESIDE = "(min-width: 1000px)";

const $ = (id) => document.getElementById(id);

/** Shown while the connection is being made or mended. */
const WAITING = {
  asking: () => ({ title: t("curtain.asking"), text: t("curtain.asking.text") }),
  connecting: () => ({ title: t("curtain.connecting") }),
  reconnecting: (more) => ({ title: t("curtain.reconnecting"), text: t("curtain.reconnecting.text", more) }),
};

export class Room {
  #curtain;
  phase = "welcome";

  /** @param {import("./curtain.js").Curtain} curtain */
  constructor(curtain) {
    this.#curtain = curtain;
    onLanguage(() => this.#write());
  }

  get live() {
    return this.phase === "connected";
  }

  /**
   * Phases: welcome, asking (for the microphone), and those of a session.
   * @param {{error?: Error, attempt?: number, limit?: number}} more as in the session's phase event
   */
  enter(phase, more = {}) {
    this.phase = phase;
    document.body.dataset.phase = phase;
    const welcoming = phase === "ended" || phase === "welcome";
    $("welcome").inert = !welcoming;
    $("stage").inert = welcoming;
    $("chat").inert = phase === "welcome" || (phase === "ended" && !matchMedia(BESIDE).matches);
    $("ended").hidden = phase !== "ended";
    for (const element of document.querySelectorAll("#interrupt, #upload, .chip")) element.disabled = !this.live;
    this.#draw(phase, more);
    this.#write();
    if (phase !== "welcome") this.#announce(more.error);
    if (phase === "ended") $("start").focus({ preventScroll: true });
  }

  #draw(phase, more) {
    if (phase in WAITING) this.#curtain.wait(() => WAITING[phase](more));
    else if (phase === "failed") this.#curtain.error(more.error.code, () => describe(more.error));
    else this.#curtain.hide();
  }

  #announce(error) {
    const { title, text } = error ? describe(error) : { title: $("connection").textContent, text: "" };
    $("status").textContent = `${title} ${text}`.trim();
  }

  #write() {
    const word = { welcome: "idle", asking: "connecting", ended: "closed" }[this.phase] ?? this.phase;
    $("connection").dataset.state = word;
    $("connection").querySelector(".readout-text").textContent = t(`connection.${word}`);
    const start = $("start");
    start.textContent = t(this.phase === "ended" ? "welcome.again" : "welcome.start");
    const language = $("language");
    language.querySelector(".language-name").textContent = t("language.switch");
    language.setAttribute("aria-label", t("language.switch.label"));
    language.title = t("language.switch.label");
    language.lang = currentLanguage() === "zh" ? "en" : "zh-CN";
  }
}
