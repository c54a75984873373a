/** A conversation's sound over the message channel, where WebRTC can't or mustn't be used: as a `Peer` to the session. */
import { ApiError } from "./api.js";
import { InStep } from "./in_step.js";
import { isGesture } from "./puppet/gestures.js";
import { Lips } from "./puppet/lips.js";
import { NEUTRAL } from "./puppet/moods.js";
import { workletsPossible } from "./sound/context.js";
import { Moments } from "./sound/moments.js";
import { Player } from "./sound/player.js";
import { Uplink } from "./sound/uplink.js";

/** How often the round trip is measured. */
const BEAT_MS = 4000;
/** A channel that came back is to carry sound again within this time. */
const BACK_MS = 3000;
const POLL_MS = 20;
/** What the server is told of how late its sound is heard: changes from this one on, and no more often. Milliseconds. */
const DELAY_STEP_MS = 20;
const DELAY_PAUSE_MS = 500;
const MOST_DELAY_MS = 2000;
/** A kind of `Moments`. */
const GESTURE = "gesture";

export class SocketMedia {
  #player = new Player();
  #lips = new Lips(this.#player);
  #moments = new Moments((reply, at) => this.#player.until(reply, at));
  #acts = new Moments((reply, at) => this.#player.until(reply, at));
  #words = new InStep(this.#moments, () => this.#player.coming);
  #uplink = null;
  #socket = null;
  #track;
  #page;
  #events;
  #state = "new";
  #beat = 0;
  #closed = false;
  /** The server takes the microphone, and sends sound. */
  #carries = false;
  /** Of several microphones of the conversation this one is heard. */
  #heard = true;
  /** The delay that the server knows, and when it was told. */
  #told = { delay: 0, at: 0 };

  /**
   * @param {MediaStreamTrack | null} track the microphone; null to listen only
   * @param {string} page a name of this page
   * @param {(state: string) => void} onState as of an RTCPeerConnection
   * @param {(performance: {player: Player, lips: Lips}) => void} onPerformance called when there is something to hear and see
   */
  constructor(track, page, onState, onPerformance) {
    this.#track = track;
    this.#page = page;
    this.#events = { onState, onPerformance };
  }

  get state() {
    return this.#state;
  }

  /** Whether this channel carries it. */
  rides(socket) {
    return this.#socket === socket;
  }

  /** What an offer says. Throws `no_worklet` where the browser gives a page no audio thread. */
  async request() {
    if (!workletsPossible()) throw new ApiError("no_worklet");
    await this.#player.open();
    this.#player.onDelay = (delay) => this.#tell(delay);
    this.#player.onReport = () => { this.#moments.look(); this.#acts.look(); };
    return { type: "websocket" };
  }

  /** The server took the offer; `socket` is the conversation's channel, open or about to be. */
  async begin(answer, socket) {
    this.#socket = socket;
    socket.own = (message) => this.#receive(message);
    this.#events.onPerformance({ player: this.#player, lips: this.#lips });
    clearInterval(this.#beat);
    this.#beat = setInterval(() => socket.beat(), BEAT_MS);
    if (socket.open) this.#ask();
    else socket.hurry();
  }

  /** Resolves when sound can come; rejects with `network` after `limit` ms. */
  async connected(limit) {
    const until = performance.now() + limit;
    while (this.#state !== "connected") {
      if (this.#closed || performance.now() > until) throw new ApiError("network");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** The channel is open (again), or lost. */
  channel(open) {
    if (!open) {
      this.#carries = false;
      this.#enter("disconnected");
    } else if (this.#socket) {
      this.#ask();
    }
  }

  /** @returns {Promise<boolean>} whether it carries sound, or does soon */
  async alive() {
    try {
      await this.connected(BACK_MS);
      return true;
    } catch {
      return false;
    }
  }

  async replaceTrack(track) {
    this.#track = track;
    await this.#uplink?.attach(track);
    return true;
  }

  /** @returns {Promise<{rtt: number | null, fps: number | null}>} round trip in ms, pictures per second */
  async stats() {
    return { rtt: this.#socket?.rtt ?? null, fps: this.#lips.rate() };
  }

  /** See `Player.figures`. */
  get figures() {
    return this.#player.figures;
  }

  /** A message of the conversation: `tell` shows it, which is done when it is heard. */
  inStep(message, tell) {
    this.#words.take(message, tell);
  }

  /** What is told from now on is later than all that waits to be heard. */
  catchUp() {
    this.#moments.release();
  }

  /** Silence at once. */
  hush() {
    this.#player.flush();
    this.#lips.flush();
    this.#moments.release();
    this.#acts.cancel(GESTURE);
    this.#acts.release();
  }

  /** It was not wanted after all. */
  unhush() {
    this.#player.allow();
    this.#lips.allow();
  }

  close() {
    if (this.#closed) return; // the channel may be another one's by now
    this.#closed = true;
    clearInterval(this.#beat);
    this.#uplink?.close();
    this.#player.close();
    this.#moments.release();
    this.#acts.release();
    if (this.#socket?.own) {
      this.#socket.own = null;
      if (this.#carries) this.#socket.send({ type: "close_audio" });
      this.#socket.send({ type: "subscribe_visemes", content: { format: "off" } });
    }
    this.#state = "closed";
  }

  #ask() {
    this.#player.restart();
    const delay = Math.min(this.#player.delay, MOST_DELAY_MS);
    this.#told = { delay, at: performance.now() };
    this.#socket.send({ type: "open_audio", content: { uplink: "pcm", page: this.#page, delay_ms: delay } });
    this.#acts.release();
    this.#lips.onAct(NEUTRAL); // what ended meanwhile is not told
    this.#socket.send({ type: "subscribe_visemes", content: { format: "arkit", acts: true } });
  }

  #receive(message) {
    switch (message.type) {
      case "audio_opened": return this.#opened(message);
      case "audio_frame": return this.#sound(message);
      case "audio_clear": return this.#clear(message);
      case "audio_closed": return this.#shut(message.reason);
      case "microphone": this.#heard = message.heard; return undefined;
      case "wsa_error": return this.#refused();
      case "visemes": return this.#lips.push(message);
      case "visemes_clear": return this.#lips.clear(message);
      case "act": return this.#act(message);
      default: return undefined;
    }
  }

  #sound(frame) {
    this.#player.push(frame);
    this.#moments.resume(frame.reply);
    this.#acts.resume(frame.reply);
  }

  #clear(message) {
    this.#player.clear(message);
    this.#moments.pause(message.reply);
    this.#acts.pause(message.reply);
  }

  /** Of no reply: the one that was to come is over. */
  #act({ reply, at_ms: at, act }) {
    if (reply === "") this.#acts.release();
    this.#acts.at({ reply, at, kind: isGesture(act) ? GESTURE : "", run: () => this.#lips.onAct(act) });
  }

  /** The server ended it: another page has the avatar, which the session hears of, or the conversation is over. */
  #shut(reason) {
    this.#carries = false;
    if (reason === "ended") this.#enter("failed");
  }

  /** It won't open. */
  #refused() {
    this.#enter("failed");
    this.#uplink?.close();
    this.#uplink = null;
  }

  async #opened({ uplink_rate: rate }) {
    this.#carries = this.#heard = true;
    if (!this.#uplink) {
      this.#uplink = new Uplink(rate, (frame) => this.#carries && this.#heard && this.#socket.sendSound(frame));
      await this.#uplink.attach(this.#track);
    }
    this.#enter("connected");
    this.#socket.beat();
  }

  /** How late the sound is heard, for what was heard of an answer that is interrupted. */
  #tell(measured) {
    const now = performance.now();
    const delay = Math.min(measured, MOST_DELAY_MS);
    const small = Math.abs(delay - this.#told.delay) < DELAY_STEP_MS;
    if (!this.#carries || small || now - this.#told.at < DELAY_PAUSE_MS) return;
    this.#told = { delay, at: now };
    this.#socket.send({ type: "audio_delay", content: { delay_ms: delay } });
  }

  #enter(state) {
    if (this.#closed || state === this.#state) return;
    this.#state = state;
    this.#events.onState(state);
  }
}
