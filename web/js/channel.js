/** A conversation's message channel: its socket, and what the messages that come together after a loss mean. */
import { Socket } from "./socket.js";

/** How long to wait for the channel before calling back an avatar that may have moved meanwhile. */
const SETTLE_MS = 2_000;
const POLL_MS = 50;

export class Channel {
  #socket = null;
  #told;
  /** What the next replay is: all of a conversation that just began (fresh), or that this page shows nothing of (whole), or what it missed. */
  #replay;
  /** The socket was lost and came back. */
  #lost = false;

  /**
   * @param {{message: (message: object, number: number | null) => void, moved: (page: string) => void,
   *          replay: (replay: {messages: object[], whole: boolean, gap: boolean}) => void, gap: () => void,
   *          state: (state: "open" | "lost" | "refused", back: boolean) => void,
   *          microphone: (heard: boolean, by: string) => void}} told `moved`: where the avatar's media are now;
   *          `back`: it was lost before; `gap`: the kept history knows more
   * @param {"fresh" | "whole"} replay
   */
  constructor(told, replay) {
    this.#told = told;
    this.#replay = replay;
  }

  /** @returns {Socket | null} */
  get socket() {
    return this.#socket;
  }

  get open() {
    return this.#socket?.open ?? false;
  }

  /** Be open for a conversation; as it is when it is that one's already, for which the server may have given another token. */
  use(credentials) {
    if (this.#socket?.sessionid === credentials.sessionid) this.#socket.credentials = credentials;
    else this.begin(credentials);
  }

  /** Open anew. */
  begin(credentials) {
    this.#socket?.close();
    this.#socket = new Socket(credentials, 0, {
      onMessage: (message, number) => this.#receive(message, number),
      onReplay: (messages, gap) => this.#replayed(messages, gap),
      onState: (state, gap) => this.#changed(state, gap),
      onMicrophone: this.#told.microphone,
    });
  }

  /** @returns {boolean} whether it was handed to an open socket */
  send(message) {
    return this.#socket?.send(message) ?? false;
  }

  /** The network is back, as far as the browser knows. */
  hurry() {
    this.#socket?.hurry();
  }

  close() {
    this.#socket?.close();
    this.#socket = null;
  }

  /** Close; the next conversation is another one. */
  forget() {
    this.close();
    this.#replay = "fresh";
  }

  /** Resolves when it is open, or has been awaited for long enough. */
  async settled() {
    const until = Date.now() + SETTLE_MS;
    while (this.#socket && !this.#socket.open && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }

  #changed(state, gap) {
    const back = state === "open" && this.#lost;
    this.#lost = state !== "open";
    if (state === "open") {
      if (gap || this.#replay === "whole") this.#told.gap();
      this.#replay = "missed";
    }
    this.#told.state(state, back);
  }

  #receive(message, number) {
    if (message.type === "media") this.#told.moved(String(message.page ?? ""));
    else this.#told.message(message, number);
  }

  /** Where the avatar is now is what the last word of a replay says; a page that just called it knows better. */
  #replayed(messages, gap) {
    if (this.#replay === "fresh") {
      for (const { message, number } of messages) this.#receive(message, number);
      return;
    }
    const last = messages.findLast(({ message }) => message.type === "media");
    if (last && this.#replay === "missed") this.#told.moved(String(last.message.page ?? ""));
    const told = messages.filter(({ message }) => message.type !== "media");
    this.#told.replay({ messages: told, whole: this.#replay === "whole", gap });
  }
}
