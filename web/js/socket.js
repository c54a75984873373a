/** The message channel: login, registration, heartbeat, and coming back after a loss without missing a message. */
import { socketAddress } from "./api.js";

const HEARTBEAT_MS = 20_000;
/** Two heartbeats without any answer: the line is dead although nobody closed it. */
const SILENCE_MS = 45_000;
const BACK_OFF_MS = [500, 1000, 2000, 4000, 8000];

export class Socket {
  #socket = null;
  #closed = false;
  #failures = 0;
  #retryTimer = 0;
  #beat = 0;
  #lastHeard = 0;
  #lastSeq = null;
  #credentials;
  #onMessage;
  #onState;

  /**
   * @param {{sessionid: string, token?: string}} credentials
   * @param {(message: object) => void} onMessage every message but the channel's own
   * @param {(state: "open" | "lost" | "refused") => void} onState "open" after each login
   */
  constructor(credentials, onMessage, onState) {
    this.#credentials = credentials;
    this.#onMessage = onMessage;
    this.#onState = onState;
    this.#connect();
  }

  get sessionid() {
    return this.#credentials.sessionid;
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** @returns {boolean} whether it was handed to an open channel */
  send(message) {
    if (!this.open) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Try again now instead of at the end of the back-off, e.g. when the network is back. */
  hurry() {
    if (this.#closed || !this.#retryTimer) return;
    this.#connect();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    clearInterval(this.#beat);
    this.#socket?.close(1000);
  }

  get #username() {
    return `User_${this.sessionid}`;
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    const socket = new WebSocket(socketAddress());
    this.#socket = socket;
    this.#lastHeard = Date.now();
    socket.onopen = () => this.#login();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => this.#lost(socket);
    clearInterval(this.#beat);
    this.#beat = setInterval(() => this.#heartbeat(), HEARTBEAT_MS);
  }

  #login() {
    const { sessionid, token } = this.#credentials;
    const login = { type: "login", session_id: sessionid, username: this.#username };
    if (token) login.token = token;
    if (this.#lastSeq !== null) login.last_seq = this.#lastSeq;
    this.send(login);
  }

  #heartbeat() {
    if (Date.now() - this.#lastHeard > SILENCE_MS) this.#lost(this.#socket);
    else this.send({ type: "heartbeat", timestamp: Date.now() });
  }

  #receive(data) {
    this.#lastHeard = Date.now();
    let message;
    try { message = JSON.parse(data); } catch { return; }
    switch (message?.type) {
      case "login_success":
        this.#failures = 0;
        this.send({ type: "wsa_register_web", username: this.#username, session_id: this.sessionid, timestamp: Date.now() });
        this.#onState("open");
        break;
      case "sync":
        this.#lastSeq = message.seq;
        break;
      case "wsa_error":
        this.#refused(message);
        break;
      case "heartbeat_response":
      case "wsa_registered":
      case "wsa_status":
        break;
      default:
        if (message?.type) this.#onMessage(message);
    }
  }

  #refused(message) {
    console.warn("eman:", message.code, message.message);
    if (message.code !== "auth_failed") return;
    this.close();
    this.#onState("refused");
  }

  #lost(socket) {
    if (this.#closed || socket !== this.#socket) return;
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    this.#socket = null;
    clearInterval(this.#beat);
    this.#onState("lost");
    const wait = BACK_OFF_MS[Math.min(this.#failures, BACK_OFF_MS.length - 1)];
    this.#failures += 1;
    this.#retryTimer = setTimeout(() => this.#connect(), wait * (0.8 + 0.4 * Math.random()));
  }
}
