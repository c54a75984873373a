/** An optional third-party control server: a connection of its own that may stop the avatar. It learns a name and nothing else. */

const BACK_OFF_MS = [1000, 2000, 5000, 15_000, 60_000];
const ACTIONS = new Set(["interrupt", "hangup"]);

export class ControlChannel {
  #url;
  #username;
  #actions;
  #socket = null;
  #failures = 0;
  #timer = 0;
  #closed = false;
  sessionid;

  /**
   * @param {string} url ws: or wss:, from the server's settings
   * @param {string} sessionid
   * @param {{onAction: (action: "interrupt" | "hangup") => void, onBroadcast: (text: string) => void}} actions
   */
  constructor(url, sessionid, actions) {
    this.#url = url;
    this.sessionid = sessionid;
    this.#username = `User_${sessionid}`;
    this.#actions = actions;
    this.#connect();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  #connect() {
    try {
      this.#socket = new WebSocket(this.#url);
    } catch (failure) {
      // A bad address, or ws: from an https: page. Trying again would not help.
      console.warn("eman: control server:", failure.message);
      return;
    }
    this.#socket.onopen = () => this.#greet();
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = () => this.#again();
  }

  #greet() {
    this.#failures = 0;
    this.#socket.send(JSON.stringify({ Username: this.#username }));
  }

  #again() {
    if (this.#closed) return;
    const wait = BACK_OFF_MS[Math.min(this.#failures, BACK_OFF_MS.length - 1)];
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#connect(), wait * (0.8 + 0.4 * Math.random()));
  }

  #receive(data) {
    let message;
    try { message = JSON.parse(data); } catch { return; }
    if (message?.Username && message.Username !== this.#username) return;
    if (message?.type === "control" && ACTIONS.has(message.action)) this.#actions.onAction(message.action);
    if (message?.type === "broadcast" && typeof message.content === "string") this.#actions.onBroadcast(message.content.trim());
  }
}
