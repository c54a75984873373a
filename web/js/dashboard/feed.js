/** The live connection: logs in, passes snapshots on, notices a dead line, comes back by itself. */

const BACK_OFF_MS = [1000, 1000, 2000, 4000, 8000];
/** A snapshot comes every second; after this long without one the line is dead although nobody closed it. */
const SILENCE_MS = 6000;

export class Feed {
  #socket = null;
  #failures = 0;
  #timer = 0;
  #watch = 0;
  #token = "";
  #onSnapshot;
  #onState;

  /**
   * @param {(snapshot: object) => void} onSnapshot
   * @param {(state: "connecting" | "open" | "lost" | "refused", detail: {message?: string, retryAt?: number}) => void} onState
   */
  constructor(onSnapshot, onState) {
    this.#onSnapshot = onSnapshot;
    this.#onState = onState;
  }

  /** Connect now, with this token from here on. */
  open(token = this.#token) {
    this.#token = token;
    this.#leave();
    const url = new URL("./api/admin/live", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ type: "login", token: this.#token }));
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => this.#lost();
    this.#expect();
    this.#onState("connecting", {});
  }

  #receive(data) {
    let message;
    try { message = JSON.parse(data); } catch { return; }
    if (message?.type === "snapshot") {
      this.#failures = 0;
      this.#expect();
      this.#onState("open", {});
      this.#onSnapshot(message);
    } else if (message?.type === "error") {
      this.#leave();
      this.#onState("refused", { message: String(message.message ?? "") });
    }
  }

  #expect() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#lost(), SILENCE_MS);
  }

  #lost() {
    this.#leave();
    const wait = BACK_OFF_MS[Math.min(this.#failures++, BACK_OFF_MS.length - 1)];
    this.#timer = setTimeout(() => this.open(), wait);
    this.#onState("lost", { retryAt: Date.now() + wait });
  }

  #leave() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    if (!this.#socket) return;
    this.#socket.onclose = this.#socket.onmessage = this.#socket.onopen = null;
    this.#socket.close();
    this.#socket = null;
  }
}
