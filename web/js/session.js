/** One conversation with the server: the peer and the socket together, kept alive as long as the user wants it. */
import { ApiError, hangUp, sendOffer } from "./api.js";
import { Peer } from "./peer.js";
import { Socket } from "./socket.js";

const CONNECT_MS = 15_000;
const RECONNECT_MS = 8_000;
/** A short radio gap heals by itself; only a longer one is worth a new offer. */
const GAP_MS = 3_000;
/** What the server says when it no longer knows a conversation, or not with this token. */
const GONE = new Set(["session_not_found", "auth_failed"]);
const BACK_OFF_MS = [0, 1000, 2000, 4000, 8000];

/**
 * Events (CustomEvent, `detail` in brackets): phase [{phase, attempt?, limit?, error?}], stream [MediaStream],
 * message [object], socket ["open" | "lost" | "refused"], renewed [sessionid].
 * Phases: idle, connecting, connected, reconnecting, failed, ended.
 */
export class Session extends EventTarget {
  #options;
  #track = null;
  #peer = null;
  #socket = null;
  #token = "";
  #gap = 0;
  #expired = false;
  /** Each attempt has its number; whatever returns to an older one finds that it is no longer wanted. */
  #run = 0;
  #abort = new AbortController();
  id = "";
  phase = "idle";

  /** @param {{iceServers: RTCIceServer[], avatar?: string, token?: string}} options */
  constructor(options) {
    super();
    this.#options = options;
  }

  get credentials() {
    const token = this.#token || this.#options.token;
    return token ? { sessionid: this.id, token } : { sessionid: this.id };
  }

  get socketOpen() {
    return this.#socket?.open ?? false;
  }

  /** Connect, or connect anew with another microphone; an existing conversation is taken up again. */
  async open(track) {
    this.#track = track;
    const run = this.#begin();
    this.#enter("connecting");
    try {
      await this.#connect(run, CONNECT_MS);
    } catch (failure) {
      if (run !== this.#run) return;
      const error = asError(failure);
      const stale = Boolean(this.id) && GONE.has(error.code);
      if (stale) this.#expire();
      if (stale) await this.open(track); else this.#fail(error);
    }
  }

  /** Exchange the microphone, with a new offer only where the old one had none. */
  async useMicrophone(track) {
    this.#track = track;
    if (this.phase === "connected" && !(await this.#peer.replaceTrack(track))) await this.open(track);
  }

  /** @returns {boolean} whether it was handed to an open channel */
  send(message) {
    return this.#socket?.send(message) ?? false;
  }

  async stats() {
    return this.phase === "connected" ? this.#peer.stats() : null;
  }

  /** The network is back, as far as the browser knows. */
  hurry() {
    this.#socket?.hurry();
    if (this.phase === "connected" && this.#peer.state !== "connected") this.#reconnect();
  }

  /** Hang up and let the server free everything at once. */
  close() {
    if (this.phase === "idle" || this.phase === "ended") return;
    this.#begin();
    if (this.id) hangUp(this.credentials);
    this.#release();
    this.id = "";
    this.#token = "";
    this.#enter("ended");
  }

  #begin() {
    clearTimeout(this.#gap);
    this.#abort.abort();
    this.#abort = new AbortController();
    return ++this.#run;
  }

  async #connect(run, limit) {
    this.#peer?.close();
    const peer = new Peer(
      this.#options.iceServers,
      this.#track,
      (state) => this.#watch(run, state),
      (stream) => run === this.#run && this.#tell("stream", stream),
    );
    this.#peer = peer;
    const offer = { type: "offer", sdp: await peer.offer(), ...(this.id ? this.credentials : {}) };
    if (this.#options.token && !offer.token) offer.token = this.#options.token;
    if (this.#options.avatar) offer.avatar = this.#options.avatar;
    if (run !== this.#run) return;
    const answer = await sendOffer(offer, this.#abort.signal);
    if (run !== this.#run) return;
    this.#adopt(answer);
    await peer.answer(answer.sdp);
    await peer.connected(limit);
    if (run === this.#run) this.#enter("connected");
  }

  /** Take over the id that the server gave, and open its message channel unless it is open already. */
  #adopt({ sessionid, token }) {
    const renewed = this.#expired || (this.id && this.id !== sessionid);
    this.#expired = false;
    this.id = sessionid;
    this.#token = token ?? "";
    if (this.#socket?.sessionid !== sessionid) {
      this.#socket?.close();
      this.#socket = new Socket(
        this.credentials,
        (message) => this.#tell("message", message),
        (state) => this.#tell("socket", state),
      );
    }
    if (renewed) this.#tell("renewed", sessionid);
  }

  #watch(run, state) {
    if (run !== this.#run || this.phase !== "connected") return;
    clearTimeout(this.#gap);
    if (state === "failed") this.#reconnect();
    if (state === "disconnected") this.#gap = setTimeout(() => this.#reconnect(), GAP_MS);
  }

  async #reconnect() {
    const run = this.#begin();
    for (const [index, wait] of BACK_OFF_MS.entries()) {
      this.#enter("reconnecting", { attempt: index + 1, limit: BACK_OFF_MS.length });
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (run !== this.#run) return;
      try {
        await this.#connect(run, RECONNECT_MS);
        return;
      } catch (failure) {
        if (run !== this.#run) return;
        if (GONE.has(asError(failure).code)) this.#expire();
      }
    }
    this.#fail(new ApiError("lost"));
  }

  /** The server no longer knows this conversation: the next offer asks for a new one, under a new id. */
  #expire() {
    this.#socket?.close();
    this.#socket = null;
    this.#expired ||= Boolean(this.id);
    this.#token = "";
    this.id = "";
  }

  #fail(error) {
    this.#begin();
    this.#release();
    this.#enter("failed", { error });
  }

  #release() {
    this.#peer?.close();
    this.#peer = null;
    this.#socket?.close();
    this.#socket = null;
  }

  #enter(phase, more = {}) {
    this.phase = phase;
    this.#tell("phase", { phase, ...more });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function asError(failure) {
  return failure instanceof ApiError ? failure : new ApiError("unknown", String(failure?.message ?? failure));
}
