/** What the server's messages mean for the log and the subtitles. */
import { avatarName, t } from "./i18n.js";

/** The sender under which the server repeats what it recognised. */
const ECHO = "回音";

/** The server joins sentences with spaces; Chinese has none between them. */
const WIDE_GAP = /(?<=[\u3000-\u9fff\uff00-\uffef]) (?=[\u3000-\u9fff\uff00-\uffef])/g;

const plain = (text) => String(text ?? "").replace(/\s+/g, " ").trim();
const same = (one, other) => plain(one).replaceAll(" ", "") === plain(other).replaceAll(" ", "");

export class Conversation {
  #chat;
  #subtitles;
  #events;
  #partial = null;
  #lastHeard = "";
  /** Bubbles of answers by reply id. */
  #replies = new Map();

  /**
   * @param {import("./chat.js").Chat} chat
   * @param {import("./subtitles.js").Subtitles} subtitles
   * @param {{onStatus: Function, onNotice: Function, onControl: Function, onAsked: Function, onAnswer: Function}} events
   */
  constructor(chat, subtitles, events) {
    this.#chat = chat;
    this.#subtitles = subtitles;
    this.#events = events;
  }

  receive(message) {
    switch (message.type) {
      case "asr_result": return this.#heard(plain(message.text), Boolean(message.is_final));
      case "reply": return this.#reply(message);
      case "chat_message": return this.#chatMessage(message);
      case "status_update": return this.#events.onStatus(message.status, message.content);
      case "wsa_command": return this.#command(message.data ?? {});
      case "broadcast": return this.#events.onNotice(plain(message.content));
      default: return undefined;
    }
  }

  /** A new session or a lost one: nothing more will come for what is still open. */
  settle() {
    this.#partial?.remove();
    this.#partial = null;
    for (const bubble of this.#replies.values()) {
      if (bubble.state === "speaking") bubble.setState("done");
    }
    this.#replies.clear();
    this.#chat.waiting = false;
    this.#subtitles.clear();
  }

  #command(data) {
    if (data.type === "control") this.#events.onControl(data.action ?? data.command ?? data.content);
    else if (data.type !== "wsa_command") this.receive(data);
  }

  #heard(text, final) {
    if (!text) {
      if (final) { this.#partial?.remove(); this.#partial = null; }
      return;
    }
    if (this.#partial) this.#partial.setText(text);
    else this.#partial = this.#chat.add("user", "partial", text);
    if (!final) return;
    this.#partial.setState("final");
    this.#partial = null;
    this.#lastHeard = text;
    this.#events.onAsked();
  }

  #reply({ reply_id: id, state, text, latency_ms: latency }) {
    if (state === "start") {
      this.#events.onAnswer(latency);
    } else if (state === "sentence") {
      // An uploaded file sounds without words.
      if (!plain(text)) return;
      this.#bubble(id).append(plain(text));
      this.#subtitles.show(plain(text));
    } else if (state === "end") {
      this.#finish(id, "done", this.#replies.get(id)?.text || plain(text));
      this.#subtitles.finish();
    } else if (state === "interrupted") {
      this.#finish(id, "interrupted", plain(text));
      this.#subtitles.clear();
    } else if (state === "error") {
      this.#broken(id, plain(text));
    }
  }

  #bubble(id) {
    let bubble = this.#replies.get(id);
    if (!bubble) {
      bubble = this.#chat.add("avatar", "speaking", "", avatarName());
      this.#replies.set(id, bubble);
    }
    return bubble;
  }

  #finish(id, state, text) {
    const bubble = this.#replies.get(id);
    if (!text) {
      bubble?.remove();
      this.#replies.delete(id);
      return;
    }
    const target = bubble ?? this.#bubble(id);
    if (!same(target.text, text)) target.setText(text.replace(WIDE_GAP, ""));
    target.setState(state);
  }

  /** What was already said stays; the error gets its own bubble after it. */
  #broken(id, text) {
    this.#finish(id, "done", this.#replies.get(id)?.text ?? "");
    this.#chat.add("avatar", "error", text || t("state.error"), avatarName());
    this.#subtitles.clear();
  }

  #chatMessage({ sender, content }) {
    const text = plain(content);
    if (!text) return;
    if (sender === "user") {
      this.#chat.add("user", "final", String(content).trim());
      this.#events.onAsked();
    } else if (sender === ECHO) {
      if (!same(text, this.#lastHeard)) this.#chat.add("user", "final", text);
    } else if (sender === avatarName()) {
      if (!this.#shown(text)) this.#chat.add("avatar", "done", text.replace(WIDE_GAP, ""), avatarName());
    } else {
      this.#chat.add("avatar", "done", text, String(sender ?? ""));
    }
  }

  /** Whether a bubble holds this answer already, or the part of it that was heard, or is still receiving it. */
  #shown(text) {
    return [...this.#replies.values()].slice(-3).some((bubble) =>
      bubble.state === "speaking" || same(bubble.text, text) || (bubble.state === "interrupted" && plain(text).startsWith(bubble.text)));
  }
}
