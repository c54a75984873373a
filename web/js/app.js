/** Composition: which part hears of what. */
import { Activity } from "./activity.js";
import { interruptTalk, readConfig, sendText } from "./api.js";
import { Chat } from "./chat.js";
import { copyText } from "./clipboard.js";
import { Composer } from "./composer.js";
import { Confirm } from "./confirm.js";
import { ControlChannel } from "./control.js";
import { Controls } from "./controls.js";
import { Conversation } from "./conversation.js";
import { Curtain } from "./curtain.js";
import { Earlier } from "./earlier.js";
import { describe, describeMicrophone } from "./failure.js";
import { currentLanguage, define, fill, languageNames, onLanguage, switchLanguage, t } from "./i18n.js";
import { Latency } from "./latency.js";
import { Memory } from "./memory.js";
import { Menu } from "./menu.js";
import { Meter, wakeAudio } from "./meter.js";
import { Microphone } from "./microphone.js";
import { Notices } from "./notice.js";
import { Room } from "./room.js";
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { ChatStorage } from "./storage.js";
import { Subtitles } from "./subtitles.js";
import { dropTicket, keepTicket, keptTicket, linkOf, newPageId, ticketOfLink } from "./ticket.js";
import { Upload } from "./upload.js";

const $ = (id) => document.getElementById(id);

/** A lost message channel is worth a word only when it doesn't come back at once. */
const PATIENCE_MS = 5000;
/** A connection that healed is worth a word only when it was missed for longer. */
const MISSED_MS = 3000;
/** How often a page says to itself that it is alive, for the one that it may be reloaded to. */
const ALIVE_MS = 10_000;
/** Answers that say that a conversation is over, or has no room any more. */
const OVER = new Set(["session_not_found", "auth_failed", "server_full"]);

const link = new URLSearchParams(location.search);
const page = newPageId();
const room = new Room(new Curtain($("curtain")));
const chat = new Chat($("log"));
const notices = new Notices($("notice"));
const memory = new Memory(
  new ChatStorage(), chat, new Earlier($("earlier")), new Confirm($("confirm")), notices, $("enable-storage"),
);
const latency = new Latency($("latency"));
const subtitles = new Subtitles($("subtitle"));
const activity = new Activity($("state"), document.querySelector(".portrait"));
const stage = new Stage($("video"), $("unmute"), $("ambient"));
const composer = new Composer($("composer"));
const upload = new Upload(chat, $("file"));
const microphone = new Microphone();
const myVoice = new Meter((level) => { controls.level(level); activity.voice({ mine: level }); });
const theirVoice = new Meter((level) => activity.voice({ theirs: level }));
const conversation = new Conversation(chat, subtitles, {
  onStatus: showStatus,
  onNotice: (text) => text && notices.show({ code: "broadcast", title: text }),
  onControl: (action) => {
    if (action === "interrupt") subtitles.clear();
    if (action === "hangup") hangUp();
  },
  onAsked: () => latency.asked(),
  onAnswer: (milliseconds) => latency.answered(milliseconds),
  onComplete: (bubble) => memory.keep(bubble.entry),
  onCleared: (number) => memory.cleared(number),
  timeOf: (number) => memory.timeOf(number),
});
const controls = new Controls(
  microphone,
  { mic: $("mic"), ptt: $("ptt"), talk: $("talk"), interrupt: $("interrupt"), upload: $("upload"), hangup: $("hangup") },
  { live: () => room.joined, needMicrophone: turnOnMicrophone, interrupt, upload: () => upload.choose(), hangup: hangUp },
);

let config = null;
let session = null;
let control = null;
let wakeLock = null;
/** How the microphone is to be when the avatar is called (back) here: a mode, or "" for none. */
let heardAs = "";
let takingUp = false;
let missedSince = 0;
/** The switch was moved while the channel was closed. */
let untold = false;

/* The server ---------------------------------------------------------------------------------------------------- */

async function learnServer() {
  config = await readConfig();
  composer.limit = config.max_text_chars;
  upload.limitMegabytes = config.max_upload_mb;
  memory.server = Boolean(config.history);
  define({ avatar: config.avatar_name });
}

function describeServer() {
  const languages = config?.asr?.languages ?? ["*"];
  const named = languages.length > 0 && !languages.includes("*");
  $("microphone-note").textContent = named ? t("welcome.note.languages", { languages: languageNames(languages) }) : t("welcome.note.any");
}

/** The face's own picture, where the server has one; otherwise the drawn silhouette stays. */
function loadPoster() {
  const picture = new Image();
  picture.onload = () => { for (const id of ["poster", "still"]) $(id).src = picture.src; };
  picture.src = "./poster.png";
}

/* The call ------------------------------------------------------------------------------------------------------ */

function start() {
  heardAs = $("use-microphone").checked ? "open" : "";
  return call();
}

/** The curtain's button: try again, or bring the avatar here. */
function callAgain() {
  return room.phase === "elsewhere" ? call() : connect();
}

async function call() {
  wakeAudio();
  if (heardAs && !microphone.available) {
    enter("asking");
    await acquireMicrophone(heardAs);
    if (room.phase !== "asking") { microphone.close(); return; }
  }
  await connect();
  if (room.live && !microphone.available) composer.focus();
}

async function connect({ renew = true } = {}) {
  if (!(await prepare())) return;
  session ??= newSession();
  const current = session;
  latency.start(() => current.stats());
  keepAwake();
  await current.open(microphone.track, { renew });
}

/** Learn what the server allows. @returns {Promise<boolean>} whether to go on */
async function prepare() {
  enter("connecting");
  try {
    if (!config) await learnServer();
  } catch (failure) {
    enter("failed", { error: failure });
    return false;
  }
  return room.phase === "connecting";
}

/** This page was reloaded: go on where it was. A conversation that is over gives the first screen, without a word. */
async function takeUp({ sessionid, token, mode }) {
  if (!(await prepare())) return;
  session = newSession({ sessionid, token });
  memory.open(session.credentials, true);
  heardAs = mode;
  wakeAudio();
  if (mode) await acquireMicrophone(mode);
  takingUp = room.phase === "connecting";
  if (takingUp) await connect({ renew: false });
  takingUp = false;
}

/** A link brought us: take part beside the window that has the avatar. */
async function join(ticket) {
  if (!(await prepare())) return;
  heardAs = ticket.mode ?? ($("use-microphone").checked ? "open" : "");
  session = newSession(ticket);
  memory.open(session.credentials, true);
  session.join();
}

function newSession(ticket = null) {
  const storage = () => memory.enabled;
  const created = new Session({ iceServers: config.ice_servers ?? [], avatar: link.get("avatar"), token: link.get("token"), page, storage }, ticket);
  const on = (name, run) => created.addEventListener(name, ({ detail }) => session === created && run(detail));
  on("phase", phaseChanged);
  on("stream", (stream) => { stage.show(stream); theirVoice.attach(stream); });
  on("message", ({ message, number }) => conversation.receive(message, number));
  on("replay", ({ messages, whole, gap }) => {
    if (gap) conversation.settle();
    conversation.replay(messages, whole);
  });
  on("gap", () => memory.fill());
  on("socket", (state) => channelChanged(created, state));
  on("opened", ({ renewed }) => {
    if (renewed) {
      conversation.settle();
      notices.show({ code: "renewed", title: t("notice.new_session") });
    }
    memory.open(created.credentials);
    remember();
  });
  return created;
}

function phaseChanged(detail) {
  const { phase, error } = detail;
  if (takingUp && phase === "failed" && OVER.has(error.code)) {
    endCall();
    memory.close();
    enter("welcome");
    return;
  }
  if (phase === "reconnecting" && room.phase !== "reconnecting") missedSince = Date.now();
  const healed = room.phase === "reconnecting" && phase === "connected";
  if (phase === "elsewhere") avatarLeft();
  enter(phase, detail);
  if (healed && Date.now() - missedSince > MISSED_MS) notices.show({ code: "reconnected", title: t("notice.reconnected") });
  if (phase === "connected" || phase === "elsewhere") { remember(); openControl(); }
}

function enter(phase, more) {
  room.enter(phase, more);
  composer.ready = room.joined;
  if (phase !== "failed") return;
  conversation.settle();
  latency.stop();
  stage.clear();
  activity.set("idle");
}

/** The avatar is in another window now, and with it the microphone. */
function avatarLeft() {
  if (room.live || room.phase === "reconnecting") heardAs = microphone.available ? microphone.mode : "";
  subtitles.clear();
  latency.stop();
  stage.clear();
  theirVoice.detach();
  microphone.close();
}

function channelChanged(current, state) {
  if (state === "open") {
    notices.dismiss("socket_lost");
    if (untold) untold = !current.send({ type: "storage", enabled: memory.enabled });
    if (room.phase !== "elsewhere") current.send({ type: "listen", mode: microphone.mode });
  } else if (state === "lost") {
    setTimeout(() => {
      if (session !== current || current.socketOpen || !room.joined) return;
      notices.show({ code: "socket_lost", kind: "warning", title: t("notice.socket_lost"), text: t("notice.socket_lost.text") });
    }, PATIENCE_MS);
  }
}

function hangUp() {
  if (["welcome", "ended"].includes(room.phase)) return;
  const ended = session;
  session = null;
  ended?.close();
  endCall();
  enter("ended");
  if (!chat.empty) chat.add("system", "final", t("chat.ended"));
}

/** Everything that a call holds, given back. */
function endCall() {
  session = null;
  control?.close();
  control = null;
  dropTicket();
  conversation.settle();
  latency.stop();
  stage.clear();
  theirVoice.detach();
  microphone.close();
  activity.set("idle");
  wakeLock?.release();
  wakeLock = null;
}

/** What a reloaded page needs to go on. */
function remember() {
  if (!session?.id) return;
  const beside = room.phase === "elsewhere";
  keepTicket(session.credentials, { beside, mode: beside ? heardAs : microphone.available ? microphone.mode : "" });
}

function goAway() {
  remember();
  if (!session?.leave()) dropTicket();
  microphone.close();
}

/** The third party's, where the server names one. */
function openControl() {
  if (!config.control_url || control?.sessionid === session.id) return;
  control?.close();
  control = new ControlChannel(config.control_url, session.id, {
    onAction: (action) => (action === "hangup" ? hangUp() : interrupt()),
    onBroadcast: (text) => text && notices.show({ code: "broadcast", title: text }),
  });
}

/** A phone must not fall asleep in the middle of a talk. Refused on low battery, which is fine. */
async function keepAwake() {
  try { wakeLock ??= await navigator.wakeLock?.request("screen"); } catch { wakeLock = null; }
}

/* The microphone ------------------------------------------------------------------------------------------------ */

async function acquireMicrophone(mode) {
  try {
    await microphone.acquire(mode);
    for (const code of ["not_found", "denied", "busy", "ended", "failed"]) notices.dismiss(`mic_${code}`);
  } catch (failure) {
    tellMicrophone(failure);
  }
}

/** Later than at the start: the running connection has to learn of the new track. */
async function turnOnMicrophone() {
  if (!room.live) return;
  wakeAudio();
  await acquireMicrophone();
  if (microphone.available) await session?.useMicrophone(microphone.track);
}

function tellMicrophone(failure) {
  const hopeless = ["insecure", "unsupported"].includes(failure.code);
  const action = hopeless ? null : { label: t("notice.retry"), run: turnOnMicrophone };
  notices.show({ kind: "warning", ...describeMicrophone(failure), action });
}

microphone.onChange = () => {
  controls.refresh();
  if (microphone.available && microphone.mode !== "off") myVoice.attach(microphone.stream);
  else myVoice.detach();
};
microphone.onListen = (change) => session?.send({ type: "listen", ...change });
microphone.onEnded = () => tellMicrophone({ code: "ended" });

/* Talking ------------------------------------------------------------------------------------------------------- */

/** The server writes its standard texts in Chinese; only what goes beyond the bare word is worth showing. */
function showStatus(status, content = "", past = false) {
  activity.set(status, content);
  chat.waiting = status === "thinking";
  if (status !== "error" || past) return;
  notices.show({ code: "status", kind: "error", title: t("state.error"), text: content === "出错了" ? "" : content });
}

async function say(text) {
  try {
    await sendText(session.credentials, text);
    return true;
  } catch (failure) {
    tell(failure);
    return false;
  }
}

async function interrupt() {
  if (!room.joined) return;
  subtitles.clear();
  try {
    await interruptTalk(session.credentials);
  } catch (failure) {
    tell(failure);
  }
}

function tell(failure) {
  if (failure.code !== "aborted") notices.show({ kind: "error", ...describe(failure) });
}

async function copyConversation() {
  if (await copyText(chat.transcript())) notices.show({ code: "copied", title: t("chat.copied") });
  else notices.show({ code: "copied", kind: "warning", title: t("chat.copy.failed") });
}

async function shareConversation() {
  if (!session) return;
  if (await copyText(linkOf(session.credentials))) notices.show({ code: "copied", title: t("chat.shared"), text: t("chat.shared.text") });
  else notices.show({ code: "copied", kind: "warning", title: t("chat.copy.failed") });
}

/* Wiring -------------------------------------------------------------------------------------------------------- */

composer.onSend = say;
upload.credentials = () => session.credentials;
chat.onChange = () => {
  $("suggestions").hidden = !chat.empty;
  $("copy").disabled = chat.empty;
  $("clear").disabled = memory.empty;
};
memory.onSwitch = (enabled) => { untold = Boolean(session) && !session.send({ type: "storage", enabled }); };
new Menu($("more"), $("menu"));
onLanguage(describeServer);
$("start").addEventListener("click", start);
$("retry").addEventListener("click", callAgain);
$("language").addEventListener("click", switchLanguage);
$("copy").addEventListener("click", copyConversation);
$("share").addEventListener("click", shareConversation);
$("clear").addEventListener("click", () => memory.clear());
for (const chip of document.querySelectorAll(".chip")) chip.addEventListener("click", () => say(chip.textContent));
// After a reload there is no sound meter before the first gesture.
for (const gesture of ["pointerdown", "keydown"]) window.addEventListener(gesture, wakeAudio, { once: true });
window.addEventListener("pagehide", goAway);
// Out of the browser's store of pages: everything was given back, so begin as after a reload.
window.addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
window.addEventListener("online", () => session?.hurry());

/** For tests and for people with a console open; reading only. */
Object.defineProperty(window, "eman", {
  value: Object.freeze({
    get state() {
      return Object.freeze({
        sessionid: session?.id ?? "",
        connection: room.phase,
        socket: session?.socketOpen ?? false,
        activity: activity.status,
        microphone: microphone.mode,
        language: currentLanguage(),
        ...latency.figures,
      });
    },
  }),
});

enter("welcome");
fill();
loadPoster();
chat.changed();
setInterval(() => room.joined && remember(), ALIVE_MS);
resume();

/** Go on where a link or a reload says; else learn about the server while the user looks at the first screen. */
function resume() {
  const invited = ticketOfLink();
  const kept = invited ? null : keptTicket();
  if (invited || kept?.beside) return join(invited ?? kept);
  if (kept) return takeUp(kept);
  return learnServer().catch(() => { /* asked again on Start, which then says what is wrong */ });
}
