/** Tells what the server says of its speech when it is heard, which is later than it is said: without WebRTC the page knows how much. */
import { ofUser } from "./conversation.js";

/** A kind of `Moments`. */
const STATUS = "status";
/** What the avatar does once it has spoken. */
const LATER = new Set(["idle", "thinking"]);
/** What is about things that were told before it, even if they are not heard yet. */
const ABOUT_ALL = new Set(["wsa_command", "history_cleared"]);

export class InStep {
  #moments;
  #coming;

  /** @param {import("./sound/moments.js").Moments} moments @param {() => string} coming the reply whose sound comes, "" for none */
  constructor(moments, coming) {
    this.#moments = moments;
    this.#coming = coming;
  }

  /** @param {object} message of the conversation @param {() => void} tell shows it */
  take(message, tell) {
    if (this.#hurries(message)) this.#moments.release();
    if (message.type === "status_update") this.#status(message, tell);
    else if (message.type === "reply" && (message.state === "sentence" || message.state === "end")) this.#words(message, tell);
    else if (message.type === "chat_message") this.#moments.at({ reply: "", at: 0, kind: "", run: tell });
    else tell();
  }

  /** What the user says, or ends, is not to come after what they have not heard yet. */
  #hurries(message) {
    const over = message.type === "reply" && (message.state === "interrupted" || message.state === "error");
    return over || ofUser(message) || ABOUT_ALL.has(message.type);
  }

  /** It speaks when its voice is heard. What it does about the user it does now, and that takes the place of what waits. */
  #status({ status }, run) {
    if (status === "speaking") { this.#moments.at({ reply: this.#coming(), at: 0, kind: STATUS, run }); return; }
    if (LATER.has(status)) { this.#moments.at({ reply: "", at: 0, kind: STATUS, run }); return; }
    this.#moments.cancel(STATUS);
    run();
  }

  #words({ reply_id: reply, at_ms: at }, run) {
    this.#moments.at({ reply, at, kind: "", run });
  }
}
