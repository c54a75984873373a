/** What a page shows of the way between the server and its voice service. */
import { t } from "./i18n.js";

const CODE = "voice_line";
/** A line that comes back at once is not worth a word. */
const PATIENCE_MS = 1500;

export class VoiceLine {
  #notices;
  #timer = 0;

  /** @param {import("./notice.js").Notices} notices */
  constructor(notices) {
    this.#notices = notices;
  }

  /** @param {{state: string, text?: string}} message @param {boolean} past whether it is told afterwards */
  receive({ state, text = "" }, past) {
    if (state === "notice") {
      if (text && !past) this.#notices.show({ code: "voice_notice", title: text });
      return;
    }
    this.forget();
    if (state === "failed") this.#show("error", t("voice_line.failed"), text);
    if (state === "lost") this.#timer = setTimeout(() => this.#show("warning", t("voice_line.lost"), t("voice_line.lost.text")), PATIENCE_MS);
  }

  /** The call is over, or the line is there. */
  forget() {
    clearTimeout(this.#timer);
    this.#notices.dismiss(CODE);
  }

  #show(kind, title, text) {
    this.#notices.show({ code: CODE, kind, title, text });
  }
}
