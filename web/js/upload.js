/** Sending an audio file for the avatar to speak. */
import { sendAudio } from "./api.js";
import { describe } from "./failure.js";
import { t } from "./i18n.js";

const MEGABYTE = 1024 * 1024;

export class Upload {
  #chat;
  #input;
  limitMegabytes = 100;
  /** Gives {sessionid, token?} of the current session. */
  credentials = () => ({ sessionid: "" });

  /** @param {import("./chat.js").Chat} chat @param {HTMLInputElement} input the hidden file chooser */
  constructor(chat, input) {
    this.#chat = chat;
    this.#input = input;
    input.addEventListener("change", () => {
      const [file] = input.files;
      input.value = "";
      if (file) this.send(file);
    });
  }

  choose() {
    this.#input.click();
  }

  async send(file) {
    const { name } = file;
    if (file.size === 0) return this.#refuse(t("upload.empty", { name }));
    if (file.size > this.limitMegabytes * MEGABYTE) return this.#refuse(t("upload.too_large", { name, limit: this.limitMegabytes }));
    const message = this.#chat.add("system", "partial", t("upload.sending", { name, percent: 0 }));
    const progress = (part) => {
      message.setText(t("upload.sending", { name, percent: Math.floor(part * 100) }));
      message.setProgress(part);
    };
    try {
      await sendAudio(this.credentials(), file, progress);
      message.setText(t("upload.playing", { name }));
      message.setState("final");
    } catch (failure) {
      const { title, text } = describe(failure);
      message.setText(t("upload.failed", { name, reason: text || title }));
      message.setState("error");
    }
    message.setProgress(null);
    return undefined;
  }

  #refuse(text) {
    this.#chat.add("system", "error", text);
  }
}
