/** Sending audio files: to ask with, or for the avatar to speak. */
import { sendAudio } from "./api.js";
import { describe } from "./failure.js";
import { t } from "./i18n.js";

const MEGABYTE = 1024 * 1024;
/** Of several files that come at once. */
const MOST = 5;
/** Chinese sentences follow each other without a space. */
const WIDE_END = /[\u3000-\u9fff\uff00-\uffef]$/;
/** News of uploads whose number this page does not know yet. */
const MOST_NEWS = 16;

export class Upload {
  #chat;
  #input;
  #choice;
  /** Transfers on their way, to be stopped. */
  #sending = new Set();
  /** What the server listens to, by upload id: {name, message}. */
  #listening = new Map();
  #news = new Map();
  limitMegabytes = 100;
  limitMinutes = 0;
  /** Gives {sessionid, token?} of the current session; null when there is none. */
  credentials = () => null;

  /**
   * @param {import("./chat.js").Chat} chat
   * @param {HTMLInputElement} input the hidden file chooser
   * @param {import("./upload_choice.js").UploadChoice} choice
   */
  constructor(chat, input, choice) {
    this.#chat = chat;
    this.#input = input;
    this.#choice = choice;
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      this.take(files);
    });
  }

  choose() {
    this.#input.click();
  }

  /** Files that were chosen or dropped. */
  async take(files) {
    const usable = files.slice(0, MOST).filter((file) => this.#usable(file));
    if (files.length > MOST) this.#refuse(t("upload.too_many", { limit: MOST }));
    if (usable.length === 0) return;
    const mode = await this.#choice.ask(usable);
    if (!mode) return;
    for (const file of usable) {
      if (!this.credentials()) return;
      await this.#send(file, mode);
    }
  }

  /** Stop what is being sent. What the server listens to it is told to stop elsewhere. */
  stop() {
    for (const transfer of this.#sending) transfer.abort();
  }

  /** What the server says of an upload; it may come before the answer that names it. */
  receive(news) {
    const upload = this.#listening.get(news.upload_id);
    if (upload) return this.#show(news, upload);
    this.#news.set(news.upload_id, news);
    if (this.#news.size > MOST_NEWS) this.#news.delete(this.#news.keys().next().value);
    return undefined;
  }

  /** Nothing more will come of what is still open. */
  settle() {
    for (const { name, message } of this.#listening.values()) finish(message, "final", t("upload.asked", { name }));
    this.#listening.clear();
    this.#news.clear();
  }

  #usable({ name, size }) {
    if (size === 0) this.#refuse(t("upload.empty", { name }));
    else if (size > this.limitMegabytes * MEGABYTE) this.#refuse(t("upload.too_large", { name, limit: this.limitMegabytes }));
    else return true;
    return false;
  }

  async #send(file, mode) {
    const { name } = file;
    const message = this.#chat.add("system", "partial", t("upload.sending", { name }));
    const transfer = new AbortController();
    this.#sending.add(transfer);
    // Like speech it cuts the avatar short, but not another file.
    const interrupt = mode === "ask" && this.#listening.size === 0;
    const onProgress = (part) => progress(message, part, name);
    progress(message, 0, name);
    try {
      const answer = await sendAudio(this.credentials(), file, { mode, interrupt, onProgress, signal: transfer.signal });
      const id = answer.data?.upload_id;
      // A server that can't listen to files has the avatar speak it.
      if (id === undefined) finish(message, "final", t("upload.playing", { name }));
      else this.#listen(id, name, message);
    } catch (failure) {
      if (["aborted", "interrupted"].includes(failure.code)) finish(message, "final", t("upload.stopped", { name }));
      else finish(message, "error", t("upload.failed", { name, reason: this.#reason(failure) }));
    } finally {
      this.#sending.delete(transfer);
    }
  }

  #listen(id, name, message) {
    const upload = { name, message };
    this.#listening.set(id, upload);
    message.setText(t("upload.listening", { name }));
    message.setProgress(null);
    const news = this.#news.get(id);
    this.#news.delete(id);
    if (news) this.#show(news, upload);
  }

  #show({ upload_id: id, state, progress: part, code, text }, { name, message }) {
    if (state === "recognizing") {
      progress(message, part ?? null, name);
      return;
    }
    this.#listening.delete(id);
    if (state === "error") finish(message, "error", t("upload.lost", { name, reason: this.#reason({ code, detail: text }) }));
    else finish(message, "final", state === "stopped" ? t("upload.stopped", { name }) : t("upload.asked", { name }));
  }

  /** Too many bytes are refused before they are sent, so what is too large for the server is too long. */
  #reason(failure) {
    if (failure.code === "too_large" && this.limitMinutes) return t("upload.too_long", { limit: this.limitMinutes });
    const { title, text } = describe(failure);
    return WIDE_END.test(title) ? title + text : `${title} ${text}`.trim();
  }

  #refuse(text) {
    this.#chat.add("system", "error", text);
  }
}

function finish(message, state, text) {
  message.setText(text);
  message.setState(state);
  message.setProgress(null);
}

/** How far it is, as a bar: a screen reader would say every number of a text again. */
function progress(message, part, name) {
  message.setProgress(part);
  message.element.querySelector("progress")?.setAttribute("aria-label", name);
}
