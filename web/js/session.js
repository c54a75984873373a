/** One conversation with the server: its media and its socket together, kept alive as long as the user wants it. */
import { ApiError, hangUp, sendOffer } from "./api.js";
import { Channel } from "./channel.js";
import { Peer } from "./peer.js";
import { SocketMedia } from "./socket_media.js";

const CONNECT_MS = 15_000;
const RECONNECT_MS = 8_000;
/** Where there is another way than WebRTC, it is not waited for so long. */
const IMPATIENT_MS = 6_000;
/** Failures of WebRTC in a row after which a conversation that it once carried goes the other way. */
const TOO_OFTEN = 2;
/** Phases in which the avatar, and with it the microphone, is here or about to be. */
const CALLING = new Set(["connecting", "connected", "reconnecting"]);
/** What says that WebRTC does not work here, while the server does. */
const NO_WEBRTC = new Set(["ice_failed", "no_webrtc"]);
/** A short radio gap heals by itself; only a longer one is worth a new offer. */
const GAP_MS = 3_000;
/** What the server says when it no longer knows a conversation, or not with this token. */
const GONE = new Set(["session_not_found", "auth_failed"]);
/** What the server says when it shows nobody else. */
const REFUSED = new Set(["unknown_presenter", "unknown_background", "bad_request", "rate_limited", "face_failed", "network"]);
/** The first wait is long enough to hear that the avatar was called to another window, and not lost. */
const BACK_OFF_MS = [300, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000];

/**
 * Events (CustomEvent, `detail` in brackets): phase [{phase, attempt?, limit?, error?, moved?}], stream [MediaStream: of
 * WebRTC], performance [{player, lips}: without it], fallen [error: WebRTC did not work, it goes on without],
 * message [{message, number}], replay [{messages: [{message, number}], whole, gap}], gap [null: the kept history knows more],
 * socket ["open" | "lost" | "refused"], microphone [{heard, by}: another one of the conversation is heard instead, or no more],
 * refused [error: the other face that was wanted can't be had],
 * opened [{renewed, avatar, background}: the server gave credentials, renewed when they are not those of the conversation
 * that was, and says who is shown before what].
 * Phases: idle, connecting, connected, reconnecting, elsewhere (another window has the avatar), failed, ended.
 */
export class Session extends EventTarget {
  #options;
  #track = null;
  /** A `Peer` or a `SocketMedia`. */
  #media = null;
  #channel;
  #token = "";
  #gap = 0;
  #expired = false;
  /** Shows what comes over the connection that is being made. */
  #coming = null;
  /** Attempts in a row in which WebRTC did not work. */
  #failures = 0;
  /** Number of the look that is wanted, and of the one that an offer brought about. */
  #wanted = 0;
  #had = 0;
  /** Each attempt has its number; whatever returns to an older one finds that it is no longer wanted. */
  #run = 0;
  #abort = new AbortController();
  id = "";
  phase = "idle";

  /**
   * @param {{iceServers: RTCIceServer[], transport: import("./transport.js").Transport, look: () => object, token?: string,
   *          page: string, storage: () => boolean}} options `page`: a name of this page; `storage`: whether the conversation
   *          may be kept; `look`: who is to be shown before what
   * @param {{sessionid: string, token?: string} | null} ticket of a conversation to take part in
   */
  constructor(options, ticket = null) {
    super();
    this.#options = options;
    this.#channel = new Channel({
      message: (message, number) => this.#told(message, number),
      moved: (page) => this.#moved(page),
      replay: (replay) => { this.#media?.catchUp?.(); this.#tell("replay", replay); },
      gap: () => this.#tell("gap", null),
      state: (state, back) => this.#channelIs(state, back),
      microphone: (heard, by) => CALLING.has(this.phase) && this.#track && this.#tell("microphone", { heard, by }),
    }, ticket ? "whole" : "fresh");
    if (!ticket) return;
    this.id = ticket.sessionid;
    this.#token = ticket.token ?? "";
  }

  get credentials() {
    const token = this.#token || this.#options.token;
    return token ? { sessionid: this.id, token } : { sessionid: this.id };
  }

  get socketOpen() {
    return this.#channel.open;
  }

  /** Take part beside the window that has the avatar. */
  join() {
    this.#channel.begin(this.credentials);
    this.#enter("elsewhere", { moved: false });
  }

  /**
   * Connect, or connect anew with another microphone; an existing conversation is taken up again. One that the server
   * no longer knows is begun anew, or with `renew: false` a failure.
   */
  async open(track, { renew = true } = {}) {
    this.#track = track;
    const run = this.#begin();
    this.#enter("connecting");
    try {
      await this.#connect(run, this.#options.transport.another ? IMPATIENT_MS : CONNECT_MS);
    } catch (failure) {
      if (run !== this.#run) return;
      const error = asError(failure);
      if (this.#falls(error)) { await this.open(track, { renew }); return; }
      const stale = renew && Boolean(this.id) && GONE.has(error.code);
      if (stale) this.#expire();
      if (stale) await this.open(track); else this.#fail(error);
    }
  }

  /** Exchange the microphone, with a new offer only where the old one had none. */
  async useMicrophone(track) {
    this.#track = track;
    if (this.phase === "connected" && !(await this.#media.replaceTrack(track))) await this.open(track);
  }

  /**
   * Show another face: over a new connection beside the old one, which is given up when the new one stands. Where there is
   * none, the next offer asks for it. When the server refuses, all is as it was.
   */
  async restyle() {
    this.#wanted += 1;
    if (this.phase === "connected") await this.#connectBeside();
  }

  /** The user wants the media another way. */
  async reroute() {
    if (this.phase !== "connected") return;
    // To come back to WebRTC is tried beside what there is; the server ends WebRTC as soon as it is to go without.
    if (this.#options.transport.mode === "webrtc") await this.#connectBeside();
    else await this.open(this.#track);
  }

  /** Silence at once, where that is in our hands; the server is told otherwise. */
  hush() {
    this.#media?.hush?.();
  }

  /** The server did not stop after all. */
  unhush() {
    this.#media?.unhush?.();
  }

  async #connectBeside() {
    const run = this.#begin();
    try {
      await this.#connect(run, RECONNECT_MS, { beside: true });
    } catch (failure) {
      if (run !== this.#run) return;
      const error = asError(failure);
      if (this.#stays(error)) { this.#tell("fallen", error); return; }
      if (!REFUSED.has(error.code)) { this.#reconnect(); return; }
      this.#had = this.#wanted;
      this.#tell("refused", error);
    }
  }

  /** @returns {boolean} whether it was handed to an open channel */
  send(message) {
    return this.#channel.send(message);
  }

  /** @returns {"webrtc" | "websocket" | ""} what carries sound and picture; "" while nothing does */
  get media() {
    if (this.phase !== "connected") return "";
    return this.#media instanceof SocketMedia ? "websocket" : "webrtc";
  }

  /** How the voice is played without WebRTC, see `JitterBuffer.figures`; null with it. */
  get sound() {
    return this.#media?.figures ?? null;
  }

  async stats() {
    return this.phase === "connected" ? this.#media.stats() : null;
  }

  /** The network is back, as far as the browser knows. */
  hurry() {
    this.#channel.hurry();
    if (this.phase === "connected" && this.#media.state !== "connected") this.#reconnect();
  }

  /** Hang up and let the server free everything at once; a window without the avatar only goes. */
  close() {
    if (this.phase === "idle" || this.phase === "ended") return;
    if (this.id && this.phase !== "elsewhere") hangUp(this.credentials);
    this.#end();
  }

  /** The page is going away, perhaps to come back. @returns {boolean} whether the conversation can be taken up again */
  leave() {
    const able = Boolean(this.id) && !["idle", "ended"].includes(this.phase);
    if (able && this.phase !== "elsewhere") hangUp({ ...this.credentials, leave: true, page: this.#options.page });
    this.#end();
    return able;
  }

  #end() {
    this.#begin();
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

  async #connect(run, limit, { beside = false } = {}) {
    if (!beside) this.#media?.close();
    const kept = beside && this.#media instanceof SocketMedia && this.#options.transport.mode === "websocket";
    const media = kept ? this.#media : this.#newMedia(run);
    if (!beside) this.#media = media;
    try {
      const request = kept ? { type: "websocket" } : await media.request();
      const offer = { ...request, ...this.#request() };
      const look = this.#wanted;
      if (run !== this.#run) return;
      const answer = await sendOffer(offer, this.#abort.signal);
      if (run !== this.#run) return;
      this.#had = look;
      this.#adopt(answer);
      if (!kept || !media.rides(this.#channel.socket)) {
        await media.begin(answer, this.#channel.socket);
        await media.connected(limit);
      }
      if (run !== this.#run) return;
      this.#failures = 0;
      if (!beside) this.#enter("connected");
      else if (!kept) this.#exchange(media);
      if (this.#had !== this.#wanted) this.#connectBeside(); // the user chose again meanwhile
    } finally {
      if (this.#media !== media) {
        media.close();
        if (run === this.#run) this.#coming = null;
      }
    }
  }

  #newMedia(run) {
    const { transport, iceServers, page } = this.#options;
    const onState = (state) => this.#watch(media, state);
    const show = (name) => (detail) => run === this.#run && this.#show(media, name, detail);
    const media = transport.mode === "websocket"
      ? new SocketMedia(this.#track, page, onState, show("performance"))
      : new Peer(iceServers, this.#track, onState, show("stream"));
    return media;
  }

  /** What comes over a connection beside the one that stands is shown when it takes over. */
  #show(media, name, detail) {
    if (media === this.#media) this.#tell(name, detail);
    else this.#coming = () => this.#tell(name, detail);
  }

  /** WebRTC does not work, and there is another way: take it. @returns {boolean} whether that is so */
  #falls(error) {
    const { transport } = this.#options;
    if (!NO_WEBRTC.has(error.code) || !transport.another) return false;
    transport.fall();
    this.#tell("fallen", error);
    return true;
  }

  /** WebRTC was tried again beside what there is, in vain: stay with that. */
  #stays(error) {
    if (!NO_WEBRTC.has(error.code) || !(this.#media instanceof SocketMedia)) return false;
    this.#options.transport.fall();
    return true;
  }

  /** What an offer says beside its SDP. A conversation that there is keeps its look unless it is to change. */
  #request() {
    const { page, storage, look, token } = this.#options;
    const request = { page, storage: storage(), ...(this.id ? this.credentials : {}) };
    if (token && !request.token) request.token = token;
    return this.id && this.#had === this.#wanted ? request : { ...request, ...look() };
  }

  #exchange(media) {
    const before = this.#media;
    this.#media = media;
    this.#coming?.();
    this.#coming = null;
    before?.close();
  }

  /** Take over the id that the server gave, and open its message channel unless it is open already. */
  #adopt({ sessionid, token, avatar = "", background = "" }) {
    const renewed = this.#expired || Boolean(this.id && this.id !== sessionid);
    this.#expired = false;
    this.id = sessionid;
    this.#token = token ?? "";
    this.#tell("opened", { renewed, avatar, background });
    this.#channel.use(this.credentials);
  }

  /** Of a conversation that WebRTC does not carry this page knows when it is heard. */
  #told(message, number) {
    const tell = () => this.#tell("message", { message, number });
    if (this.#media?.inStep) this.#media.inStep(message, tell); else tell();
  }

  #channelIs(state, back) {
    this.#tell("socket", state);
    this.#media?.channel?.(state === "open");
    if (back) this.#look();
    if (state === "refused") this.#refused();
  }

  /** The token is no good (any more). An avatar that is here is called again, which the server answers with a new one. */
  #refused() {
    this.#channel.close();
    if (this.phase === "connected") this.#reconnect();
    if (this.phase === "elsewhere") this.#fail(new ApiError("auth_failed"));
  }

  /** Another window called the avatar: let it go, and don't fight for it. */
  #moved(page) {
    if (page === this.#options.page || !["connected", "reconnecting"].includes(this.phase)) return;
    this.#begin();
    this.#media?.close();
    this.#media = null;
    this.#enter("elsewhere", { moved: true });
  }

  #watch(media, state) {
    if (media !== this.#media || this.phase !== "connected") return;
    clearTimeout(this.#gap);
    if (state === "failed") this.#reconnect();
    if (state === "disconnected") this.#gap = setTimeout(() => this.#reconnect(), GAP_MS);
  }

  /** Whether media still come; when not, call again. */
  async #look() {
    const [run, media] = [this.#run, this.#media];
    if (this.phase !== "connected") return;
    const alive = await media.alive();
    if (!alive && run === this.#run && this.phase === "connected") this.#reconnect();
  }

  async #reconnect() {
    const run = this.#begin();
    for (const [index, wait] of BACK_OFF_MS.entries()) {
      this.#enter("reconnecting", { attempt: index + 1, limit: BACK_OFF_MS.length });
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (run === this.#run) await this.#channel.settled();
      if (run !== this.#run) return;
      try {
        await this.#connect(run, RECONNECT_MS);
        return;
      } catch (failure) {
        if (run !== this.#run) return;
        const error = asError(failure);
        if (GONE.has(error.code)) this.#expire();
        this.#failures += NO_WEBRTC.has(error.code);
        if (this.#failures >= TOO_OFTEN) this.#falls(error);
      }
    }
    this.#fail(new ApiError("lost"));
  }

  /** The server no longer knows this conversation: the next offer asks for a new one, under a new id. */
  #expire() {
    this.#channel.forget();
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
    this.#media?.close();
    this.#media = null;
    this.#channel.close();
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
