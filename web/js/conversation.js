/** What the server's messages mean for the log and the subtitles. */
import { avatarName, t } from "./i18n.js";

/** The senders of what the user typed, and of what the server repeats as recognised. */
const USER = "user";
const ECHO = "回音";

/** The server joins sentences with spaces; Chinese has none between them. */
const WIDE_GAP = /(?<=[\u3000-\u9fff\uff00-\uffef]) (?=[\u3000-\u9fff\uff00-\uffef])/g;

/** @returns {boolean} whether a message is of what the user said */
export function ofUser({ type, sender }) {
  return type === "asr_result" || (type === "chat_message" && (sender === USER || sender === ECHO));
}

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
  /** Of the message being taken in: its number, and whether it is told afterwards. */
  #number = null;
  #past = null;

  /**
   * @param {import("./chat.js").Chat} chat
   * @param {import("./subtitles.js").Subtitles} subtitles
   * @param {{onStatus: (status: string, content: string, past: boolean) => void, onNotice: Function, onControl: Function,
   *          onAsked: Function, onAnswer: Function, onComplete: (bubble: import("./bubble.js").Bubble) => void,
   *          onCleared: (number: number | undefined) => void, onUpload: (news: object) => void,
   *          onVoiceLine: (news: object, past: boolean) => void,
   *          onSettled: () => void, timeOf: (number: number | null) => number | null}} events
   */
  constructor(chat, subtitles, events) {
    this.#chat = chat;
    this.#subtitles = subtitles;
    this.#events = events;
  }

  /** A message as it comes, with its number or null. */
  receive(message, number = null) {
    this.#number = number;
    this.#take(message);
  }

  /**
   * Messages that were missed: what was said is shown, nothing is announced, and no command obeyed.
   * @param {{message: object, number: number | null}[]} messages @param {boolean} whole everything so far, of which nobody knows when it was
   */
  replay(messages, whole) {
    this.#past = { whole };
    for (const { message, number } of messages) this.receive(message, number);
    this.#past = null;
    // Who is still speaking says more.
    this.dropPartial();
    this.#chat.toEnd();
  }

  #take(message) {
    switch (message.type) {
      case "asr_result": return this.#heard(plain(message.text), Boolean(message.is_final));
      case "reply": return this.#reply(message);
      case "chat_message": return this.#chatMessage(message);
      case "status_update": return this.#events.onStatus(message.status, message.content, this.#past !== null);
      case "wsa_command": return this.#command(message.data ?? {});
      case "broadcast": return this.#past ? undefined : this.#events.onNotice(plain(message.content));
      case "upload": return this.#events.onUpload(message);
      case "voice_line": return this.#events.onVoiceLine(message, this.#past !== null);
      case "history_cleared": return this.#events.onCleared(this.#past ? this.#number : undefined);
      default: return undefined;
    }
  }

  /** Nobody is listening any more to what was begun to be said. */
  dropPartial() {
    this.#partial?.remove();
    this.#partial = null;
  }

  /** The voice is heard elsewhere. */
  quiet() {
    this.#subtitles.clear();
  }

  /** A new session or a lost one: nothing more will come for what is still open. */
  settle() {
    this.dropPartial();
    for (const bubble of this.#replies.values()) {
      if (bubble.state !== "speaking") continue;
      bubble.setState("done");
      if (bubble.text) this.#events.onComplete(bubble);
    }
    this.#replies.clear();
    this.#chat.waiting = false;
    this.#subtitles.clear();
    this.#events.onSettled();
  }

  #command(data) {
    if (data.type === "control") this.#obey(data.action ?? data.command ?? data.content);
    else if (data.type !== "wsa_command") this.#take(data);
  }

  #obey(action) {
    if (!this.#past) this.#events.onControl(action);
  }

  #add(role, state, text, who = "") {
    if (!this.#past) return this.#chat.add(role, state, text, who);
    const kept = this.#events.timeOf(this.#number);
    const at = kept === null ? (this.#past.whole ? null : new Date()) : new Date(kept);
    return this.#chat.add(role, state, text, who, at);
  }

  /** Nothing more will come for this bubble. One that another tab kept, and that is shown already, is not shown twice. */
  #complete(bubble) {
    const twin = this.#number === null ? null : this.#chat.find(this.#number);
    if (twin && twin !== bubble) { bubble.remove(); return; }
    bubble.number = this.#number;
    const kept = this.#past?.whole ? this.#events.timeOf(this.#number) : null;
    if (kept !== null) bubble.at = new Date(kept);
    if (bubble.complete) this.#events.onComplete(bubble);
  }

  #heard(text, final) {
    if (!text) {
      if (final) this.dropPartial();
      return;
    }
    if (this.#partial) this.#partial.setText(text);
    else this.#partial = this.#add("user", "partial", text);
    if (!final) return;
    this.#partial.setState("final");
    this.#complete(this.#partial);
    this.#partial = null;
    this.#lastHeard = text;
    this.#asked();
  }

  #asked() {
    if (!this.#past) this.#events.onAsked();
  }

  #reply({ reply_id: id, state, text, latency_ms: latency }) {
    if (state === "start") {
      if (!this.#past) this.#events.onAnswer(latency);
    } else if (state === "sentence") {
      // An uploaded file sounds without words.
      if (!plain(text)) return;
      this.#bubble(id).append(plain(text));
      if (!this.#past) this.#subtitles.show(plain(text));
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

  /** The one that this answer is being written into. */
  #bubble(id) {
    let bubble = this.#replies.get(id);
    // A server that was restarted counts its answers anew.
    if (bubble?.state !== "speaking") {
      bubble = this.#add("avatar", "speaking", "", avatarName());
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
    this.#complete(target);
  }

  /** What was already said stays; the error gets its own bubble after it. */
  #broken(id, text) {
    this.#finish(id, "done", this.#replies.get(id)?.text ?? "");
    this.#add("avatar", "error", text || t("state.error"), avatarName());
    this.#subtitles.clear();
  }

  #chatMessage({ sender, content }) {
    const text = plain(content);
    if (!text) return;
    if (sender === USER) {
      this.#complete(this.#add("user", "final", String(content).trim()));
      this.#asked();
    } else if (sender === ECHO) {
      if (!same(text, this.#lastHeard)) this.#complete(this.#add("user", "final", text));
    } else if (sender === avatarName()) {
      if (!this.#shown(text)) this.#complete(this.#add("avatar", "done", text.replace(WIDE_GAP, ""), avatarName()));
    } else {
      this.#complete(this.#add("avatar", "done", text, String(sender ?? "")));
    }
  }

  /** Whether a bubble holds this answer already, or the part of it that was heard, or is still receiving it. */
  #shown(text) {
    return [...this.#replies.values()].slice(-3).some((bubble) =>
      bubble.state === "speaking" || same(bubble.text, text) || (bubble.state === "interrupted" && plain(text).startsWith(bubble.text)));
  }
}
