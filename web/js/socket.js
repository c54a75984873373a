/**
 * The message channel: login, registration, heartbeat, and coming back after a loss without missing a message.
 *
 * Every message of a conversation has a number that is not in it: the server says it now and then (`sync`), in between
 * each one counts one more. After a loss the login names the last number, and the server sends what came since.
 */
import { socketAddress } from "./api.js";

const HEARTBEAT_MS = 20_000;
/** Two heartbeats without any answer: the line is dead although nobody closed it. */
const SILENCE_MS = 45_000;
/**
 * A heartbeat is to be answered within this time. Browsers let a hidden page's timers run once a minute: silence alone says
 * nothing there.
 */
const ANSWER_MS = 5_000;
/** Bytes (half a second) of the microphone that may wait: what a stalled network held up would delay all that is said later. */
const MOST_SOUND = 16_000;
const BACK_OFF_MS = [500, 1000, 2000, 4000, 8000];

/** What is about the channel itself, and what else has no number. */
const OWN = new Set(["login_success", "heartbeat_response", "sync", "wsa_registered", "wsa_status", "wsa_error"]);
const UNNUMBERED = new Set([...OWN, "visemes_subscribed", "visemes", "visemes_clear", "act",
  "audio_opened", "audio_closed", "audio_frame", "audio_clear", "microphone"]);

export class Socket {
  #socket = null;
  #closed = false;
  #failures = 0;
  #retryTimer = 0;
  #beat = 0;
  #lastHeard = 0;
  /** When the first heartbeat was sent after which nothing came; 0 for none. */
  #unanswered = 0;
  #check = 0;
  #credentials;
  #events;
  /** Number of the last message; null as long as the server has told none. */
  #count;
  /** Messages of a replay that are still to come, and those that came: they are handed over together. */
  #awaited = 0;
  #replay = [];
  #gap = false;
  /** The server logged us in; before that nothing may be sent. */
  #welcome = false;
  #askedAt = 0;
  /** Round trip in ms, as of the last heartbeat; null before the first. */
  rtt = null;
  /** Called with the channel's own messages about sound and lips, which have no number: a `SocketMedia`'s. */
  own = null;

  /**
   * @param {{sessionid: string, token?: string}} credentials
   * @param {number | null} since number of the last message that is known: 0 = tell everything, null = nothing old
   * @param {{onMessage: (message: object, number: number | null) => void,
   *          onMicrophone: (heard: boolean, by: string) => void,
   *          onReplay: (messages: {message: object, number: number | null}[], gap: boolean) => void,
   *          onState: (state: "open" | "lost" | "refused", gap?: boolean) => void}} events every message but the
   *          channel's own; those that were missed come together, before `onState("open", gap)`; with a gap the server
   *          has not kept all of them
   */
  constructor(credentials, since, events) {
    this.#credentials = credentials;
    this.#count = since;
    this.#events = events;
    this.#connect();
  }

  get sessionid() {
    return this.#credentials.sessionid;
  }

  /** The id is the same, but the server may have given another token. */
  set credentials(credentials) {
    this.#credentials = credentials;
  }

  get open() {
    return this.#welcome && this.#socket?.readyState === WebSocket.OPEN;
  }

  /** @returns {boolean} whether it was handed to an open channel */
  send(message) {
    if (!this.open) return false;
    this.#write(message);
    return true;
  }

  /** Send a piece of the microphone; it is dropped where the network does not take it. */
  sendSound(frame) {
    if (this.open && this.#socket.bufferedAmount < MOST_SOUND) this.#socket.send(frame);
  }

  /** Measure the round trip. */
  beat() {
    if (!this.open) return;
    this.#unanswered ||= Date.now();
    this.#askedAt = performance.now();
    this.#write({ type: "heartbeat", timestamp: Date.now() });
  }

  /** Try again now instead of at the end of the back-off, e.g. when the network is back. */
  hurry() {
    if (this.#closed || !this.#retryTimer) return;
    this.#connect();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.#stopBeating();
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
    this.#heard();
    socket.onopen = () => this.#login();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => this.#lost(socket);
    this.#stopBeating();
    this.#beat = setInterval(() => this.#heartbeat(), HEARTBEAT_MS);
  }

  #login() {
    const { sessionid, token } = this.#credentials;
    const login = { type: "login", session_id: sessionid, username: this.#username };
    if (token) login.token = token;
    if (this.#count !== null) login.last_seq = this.#count;
    this.#write(login);
  }

  #write(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #heartbeat() {
    const now = Date.now();
    clearTimeout(this.#check);
    if (now - this.#lastHeard <= SILENCE_MS) { this.beat(); return; }
    if (!this.open || (this.#unanswered && now - this.#unanswered >= ANSWER_MS)) { this.#lost(this.#socket); return; }
    this.beat();
    this.#check = setTimeout(() => this.#heartbeat(), ANSWER_MS);
  }

  #heard() {
    this.#lastHeard = Date.now();
    this.#unanswered = 0;
  }

  #stopBeating() {
    clearInterval(this.#beat);
    clearTimeout(this.#check);
  }

  #receive(data) {
    this.#heard();
    let message;
    try { message = JSON.parse(data); } catch { return; }
    if (typeof message?.type !== "string") return;
    if (UNNUMBERED.has(message.type)) this.#own(message);
    else this.#take(message);
  }

  #own(message) {
    if (message.type === "login_success") this.#welcomed(message);
    if (message.type === "sync") this.#sync(message.seq);
    if (message.type === "wsa_error") this.#refused(message);
    if (message.type === "heartbeat_response") this.rtt = performance.now() - this.#askedAt;
    if (message.type === "microphone") this.#events.onMicrophone(message.heard === true, String(message.by));
    if (this.own && (!OWN.has(message.type) || message.ref === "open_audio")) this.own(message);
  }

  #welcomed({ missed = 0, resumed = true }) {
    this.#welcome = true;
    this.#failures = 0;
    this.#awaited = missed;
    this.send({ type: "wsa_register_web", username: this.#username, session_id: this.sessionid, timestamp: Date.now() });
    if (!resumed) this.#gap = true;
    if (this.#awaited === 0) this.#caughtUp();
  }

  #sync(seq) {
    if (Number.isSafeInteger(seq)) this.#count = seq;
  }

  #take(message) {
    if (this.#count !== null) this.#count += 1;
    if (this.#awaited === 0) { this.#events.onMessage(message, this.#count); return; }
    this.#replay.push({ message, number: this.#count });
    this.#awaited -= 1;
    if (this.#awaited === 0) this.#caughtUp();
  }

  #caughtUp() {
    const [messages, gap] = [this.#replay, this.#gap];
    this.#awaited = 0;
    this.#replay = [];
    this.#gap = false;
    if (messages.length > 0 || gap) this.#events.onReplay(messages, gap);
    this.#events.onState("open", gap);
  }

  #refused(message) {
    console.warn("eman:", message.code, message.message);
    if (message.code !== "auth_failed") return;
    this.close();
    this.#events.onState("refused");
  }

  #lost(socket) {
    if (this.#closed || socket !== this.#socket) return;
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    this.#socket = null;
    this.#welcome = false;
    this.#stopBeating();
    // What did come of a broken replay is counted already.
    if (this.#replay.length > 0) this.#events.onReplay(this.#replay, this.#gap);
    this.#replay = [];
    this.#awaited = 0;
    this.#events.onState("lost");
    const wait = BACK_OFF_MS[Math.min(this.#failures, BACK_OFF_MS.length - 1)];
    this.#failures += 1;
    this.#retryTimer = setTimeout(() => this.#connect(), wait * (0.8 + 0.4 * Math.random()));
  }
}
