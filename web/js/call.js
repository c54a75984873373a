/** The call: from Start or a link, over losses, reloads and other windows, to hanging up. */
import { Awake } from "./awake.js";
import { ControlChannel } from "./control.js";
import { describe } from "./failure.js";
import { t } from "./i18n.js";
import { wakeAudio } from "./sound/context.js";
import { Session } from "./session.js";
import { dropTicket, invitation, keepTicket, keptTicket, newPageId, ticketOfLink } from "./ticket.js";

/** A lost message channel is worth a word only when it doesn't come back soon. */
const PATIENCE_MS = 5000;
/** A connection that healed is worth a word only when it was missed for longer. */
const MISSED_MS = 3000;
/** How often a page says to itself that it is alive, for the one that it may be reloaded to. */
const ALIVE_MS = 10_000;
/** Answers that say that a conversation is over, or has no room any more. */
const OVER = new Set(["session_not_found", "auth_failed", "server_full"]);

export class Call {
  #parts;
  #actions;
  #page = newPageId();
  #awake = new Awake();
  #session = null;
  #control = null;
  /** How the microphone is to be when the avatar is called (back) here: a mode, or "" for none. */
  #heardAs = "";
  /** What "try again" does when there is no session yet. */
  #again = null;
  #takingUp = false;
  #missedSince = 0;
  /** The storage switch was moved while the channel was closed. */
  #untold = false;

  /**
   * @param {object} parts room, chat, conversation, memory, microphone, notices, latency, stage, activity, theirVoice, composer,
   *        look, transport
   * @param {{config: () => Promise<object>, link: URLSearchParams, acquireMicrophone: (mode: string) => Promise<void>,
   *          interrupt: () => void, wanted: () => boolean}} actions `wanted`: whether a new call is to use the microphone
   */
  constructor(parts, actions) {
    this.#parts = parts;
    this.#actions = actions;
    window.addEventListener("pagehide", () => this.#goAway());
    // Out of the browser's store of pages: everything was given back, so begin as after a reload.
    window.addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
    window.addEventListener("online", () => this.#session?.hurry());
    setInterval(() => parts.room.joined && this.#remember(), ALIVE_MS);
  }

  get session() {
    return this.#session;
  }

  /** Whether the link to this page brought the token of an invitation. */
  get invited() {
    return Boolean(this.#invitation);
  }

  get #invitation() {
    return invitation() ?? this.#actions.link.get("token");
  }

  /** Go on where a link or a reload says. @returns {boolean} whether there is anything to go on with */
  resume() {
    const invited = ticketOfLink();
    const ticket = invited ?? keptTicket();
    if (!ticket) return false;
    if (invited || ticket.beside) this.#join(ticket);
    else this.#takeUp(ticket);
    return true;
  }

  start() {
    this.#heardAs = this.#actions.wanted() ? "open" : "";
    return this.#call();
  }

  /** The curtain's button: try again, or bring the avatar here. */
  again() {
    if (this.#again) return this.#again();
    return this.#parts.room.phase === "elsewhere" ? this.#call() : this.#connect();
  }

  /** The user chose another presenter or background. */
  restyle() {
    this.#session?.restyle();
  }

  /** The user wants the media another way. */
  reroute() {
    this.#parts.notices.dismiss("fallen");
    this.#session?.reroute();
  }

  hangUp() {
    const { room, chat } = this.#parts;
    if (["welcome", "ended"].includes(room.phase)) return;
    const ended = this.#session;
    this.#session = null;
    ended?.close();
    this.#release();
    this.#enter("ended");
    if (!chat.empty) chat.add("system", "final", t("chat.ended"));
  }

  /** Whether conversations may be kept from now on. */
  tellStorage(enabled) {
    this.#untold = Boolean(this.#session) && !this.#session.send({ type: "storage", enabled });
  }

  async #call() {
    const { room, microphone, composer } = this.#parts;
    wakeAudio();
    if (this.#heardAs && !microphone.available) {
      this.#enter("asking");
      await this.#actions.acquireMicrophone(this.#heardAs);
      if (room.phase !== "asking") { microphone.close(); return; }
    }
    await this.#connect();
    if (room.live && !microphone.available) composer.focus();
  }

  async #connect({ renew = true } = {}) {
    const config = await this.#prepare();
    if (!config) return;
    const session = this.#session ??= this.#newSession(config);
    this.#parts.latency.start(() => session.stats());
    this.#awake.hold();
    await session.open(this.#parts.microphone.track, { renew });
  }

  /** Learn what the server allows. @returns {Promise<object | null>} null: don't go on */
  async #prepare(again = null) {
    this.#again = again;
    this.#enter("connecting");
    try {
      const config = await this.#actions.config();
      this.#again = null;
      return this.#parts.room.phase === "connecting" ? config : null;
    } catch (failure) {
      this.#enter("failed", { error: failure });
      return null;
    }
  }

  /** This page was reloaded: go on where it was. A conversation that is over gives the first screen, without a word. */
  async #takeUp(ticket) {
    const { room, memory } = this.#parts;
    const config = await this.#prepare(() => this.#takeUp(ticket));
    if (!config) return;
    this.#parts.transport.resume(ticket.media);
    this.#session = this.#newSession(config, ticket);
    memory.open(this.#session.credentials, true);
    this.#heardAs = ticket.mode;
    wakeAudio();
    if (ticket.mode) await this.#actions.acquireMicrophone(ticket.mode);
    this.#takingUp = room.phase === "connecting";
    if (this.#takingUp) await this.#connect({ renew: false });
    this.#takingUp = false;
  }

  /** Take part beside the window that has the avatar. */
  async #join(ticket) {
    const config = await this.#prepare(() => this.#join(ticket));
    if (!config) return;
    this.#heardAs = ticket.mode ?? (this.#actions.wanted() ? "open" : "");
    this.#session = this.#newSession(config, ticket);
    this.#parts.memory.open(this.#session.credentials, true);
    this.#session.join();
  }

  #newSession(config, ticket = null) {
    const { conversation, memory, stage, theirVoice, look, notices, transport } = this.#parts;
    const options = {
      iceServers: config.ice_servers ?? [], transport, look: () => look.wish, token: this.#invitation,
      page: this.#page, storage: () => memory.enabled,
    };
    const session = new Session(options, ticket);
    const on = (name, run) => session.addEventListener(name, ({ detail }) => session === this.#session && run(detail));
    on("phase", (detail) => this.#phase(detail));
    on("stream", (stream) => { stage.show(stream); theirVoice.attach(stream); });
    on("performance", (performance) => { stage.perform(performance); theirVoice.attach(performance.player.stream); });
    on("fallen", (failure) => this.#fallen(failure));
    on("message", ({ message, number }) => conversation.receive(message, number));
    on("replay", ({ messages, whole, gap }) => {
      if (gap) conversation.settle();
      conversation.replay(messages, whole);
    });
    on("gap", () => memory.fill());
    on("microphone", ({ heard, by }) => this.#microphone(heard, by));
    on("socket", (state) => this.#channel(session, state));
    on("refused", (failure) => { look.revert(); notices.show({ kind: "error", ...describe(failure) }); });
    on("opened", ({ renewed, ...shown }) => { look.tell(shown); this.#opened(session, renewed); });
    return session;
  }

  #opened(session, renewed) {
    const { conversation, memory, notices } = this.#parts;
    notices.dismiss("unheard");
    if (renewed) {
      conversation.settle();
      notices.show({ code: "renewed", title: t("notice.new_session") });
    }
    memory.open(session.credentials);
    this.#remember();
  }

  /** It goes on without WebRTC: say what is different, and how to try again. */
  #fallen({ code }) {
    const { notices, transport } = this.#parts;
    const action = code === "no_webrtc" ? null : { label: t("notice.fallen.again"), run: () => { transport.retry(); this.reroute(); } };
    notices.show({ code: "fallen", kind: "warning", title: t("notice.fallen"), text: t("notice.fallen.text"), action });
  }

  /** Another microphone of this conversation is heard in place of ours, or no more. */
  #microphone(heard, by) {
    const { notices } = this.#parts;
    if (heard) { notices.dismiss("unheard"); return; }
    notices.show({ code: "unheard", kind: "warning", title: t("notice.unheard"), text: t(by === "device" ? "notice.unheard.device" : "notice.unheard.text") });
  }

  #phase(detail) {
    const { room, conversation, notices, look } = this.#parts;
    const { phase, error } = detail;
    if (this.#takingUp && phase === "failed" && OVER.has(error.code)) { this.#begin(); return; }
    if (phase === "reconnecting" && room.phase !== "reconnecting") {
      this.#missedSince = Date.now();
      notices.dismiss("socket_lost"); // everything is lost, and the picture's place says so
    }
    const healed = room.phase === "reconnecting" && phase === "connected";
    if (phase === "elsewhere") this.#avatarLeft();
    if (phase === "failed" && error.code.startsWith("unknown_")) look.revert(); // so that trying again helps
    this.#enter(phase, detail);
    if (healed && Date.now() - this.#missedSince > MISSED_MS) notices.show({ code: "reconnected", title: t("notice.reconnected") });
    if (!room.joined) return;
    conversation.dropPartial();
    this.#remember();
    this.#openControl();
  }

  /** Back to the first screen, as if nothing had been. */
  #begin() {
    this.#release();
    this.#parts.memory.close();
    this.#enter("welcome");
  }

  #enter(phase, more) {
    const { room, composer, conversation } = this.#parts;
    room.enter(phase, more);
    composer.ready = room.joined;
    if (phase !== "failed") return;
    conversation.settle();
    this.#darken();
  }

  /** The avatar is in another window now, and with it the microphone. */
  #avatarLeft() {
    const { room, microphone, conversation } = this.#parts;
    if (room.live || room.phase === "reconnecting") this.#heardAs = microphone.available ? microphone.mode : "";
    conversation.quiet();
    this.#darken();
    microphone.close();
  }

  #channel(session, state) {
    const { room, notices, memory, microphone } = this.#parts;
    room.channel(state === "open");
    if (state === "open") {
      notices.dismiss("socket_lost");
      if (this.#untold) this.tellStorage(memory.enabled);
      if (room.phase !== "elsewhere") session.send({ type: "listen", mode: microphone.mode });
    } else if (state === "lost") {
      setTimeout(() => {
        if (session !== this.#session || session.socketOpen || !room.joined) return;
        notices.show({ code: "socket_lost", kind: "warning", title: t("notice.socket_lost"), text: t("notice.socket_lost.text") });
      }, PATIENCE_MS);
    }
  }

  #darken() {
    const { latency, stage, theirVoice, activity, notices } = this.#parts;
    notices.dismiss("unheard");
    latency.stop();
    stage.clear();
    theirVoice.detach();
    activity.set("idle");
  }

  /** Everything that a call holds, given back. */
  #release() {
    this.#session = null;
    this.#control?.close();
    this.#control = null;
    dropTicket();
    this.#parts.conversation.settle();
    this.#darken();
    this.#parts.microphone.close();
    this.#awake.release();
  }

  /** What a reloaded page needs to go on. */
  #remember() {
    const { room, microphone, transport } = this.#parts;
    if (!this.#session?.id) return;
    const beside = room.phase === "elsewhere";
    const mode = microphone.available ? microphone.mode : "";
    keepTicket(this.#session.credentials, { beside, mode: beside ? this.#heardAs : mode, media: transport.mode });
  }

  #goAway() {
    this.#remember();
    if (!this.#session?.leave()) dropTicket();
    this.#parts.microphone.close();
  }

  /** The third party's, where the server names one. */
  async #openControl() {
    const { control_url: url } = await this.#actions.config();
    const id = this.#session?.id;
    if (!url || !id || this.#control?.sessionid === id) return;
    this.#control?.close();
    this.#control = new ControlChannel(url, id, {
      onAction: (action) => (action === "hangup" ? this.hangUp() : this.#actions.interrupt()),
      onBroadcast: (text) => text && this.#parts.notices.show({ code: "broadcast", title: text }),
    });
  }
}
