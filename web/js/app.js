/** Composition: which part hears of what. */
import { Activity } from "./activity.js";
import { interruptTalk, readConfig, sendText } from "./api.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { Controls } from "./controls.js";
import { Conversation } from "./conversation.js";
import { Curtain } from "./curtain.js";
import { describe, describeMicrophone } from "./failure.js";
import { currentLanguage, define, fill, languageNames, onLanguage, switchLanguage, t } from "./i18n.js";
import { Latency } from "./latency.js";
import { Meter, wakeAudio } from "./meter.js";
import { Microphone } from "./microphone.js";
import { Notices } from "./notice.js";
import { Room } from "./room.js";
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { Subtitles } from "./subtitles.js";
import { Upload } from "./upload.js";

const $ = (id) => document.getElementById(id);

/** A lost message channel is worth a word only when it doesn't come back at once. */
const PATIENCE_MS = 2000;

const link = new URLSearchParams(location.search);
const room = new Room(new Curtain($("curtain")));
const chat = new Chat($("log"));
const notices = new Notices($("notice"));
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
});
const controls = new Controls(
  microphone,
  { mic: $("mic"), ptt: $("ptt"), talk: $("talk"), interrupt: $("interrupt"), upload: $("upload"), hangup: $("hangup") },
  { live: () => room.live, needMicrophone: turnOnMicrophone, interrupt, upload: () => upload.choose(), hangup: hangUp },
);

let config = null;
let session = null;
let wakeLock = null;

/* The server ---------------------------------------------------------------------------------------------------- */

async function learnServer() {
  config = await readConfig();
  composer.limit = config.max_text_chars;
  upload.limitMegabytes = config.max_upload_mb;
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

async function start() {
  wakeAudio();
  if ($("use-microphone").checked) {
    enter("asking");
    await acquireMicrophone();
    if (room.phase !== "asking") { microphone.close(); return; }
  }
  await connect();
  if (room.live && !microphone.available) composer.focus();
}

async function connect() {
  enter("connecting");
  try {
    if (!config) await learnServer();
  } catch (failure) {
    enter("failed", { error: failure });
    return;
  }
  if (room.phase !== "connecting") return;
  session ??= newSession();
  const current = session;
  latency.start(() => current.stats());
  keepAwake();
  await current.open(microphone.track);
}

function newSession() {
  const created = new Session({ iceServers: config.ice_servers ?? [], avatar: link.get("avatar"), token: link.get("token") });
  created.addEventListener("phase", ({ detail }) => {
    const healed = room.phase === "reconnecting" && detail.phase === "connected";
    enter(detail.phase, detail);
    if (healed) notices.show({ code: "reconnected", title: t("notice.reconnected") });
  });
  created.addEventListener("stream", ({ detail }) => { stage.show(detail); theirVoice.attach(detail); });
  created.addEventListener("message", ({ detail }) => conversation.receive(detail));
  created.addEventListener("socket", ({ detail }) => channelChanged(created, detail));
  created.addEventListener("renewed", () => {
    conversation.settle();
    notices.show({ code: "renewed", title: t("notice.new_session") });
  });
  return created;
}

function enter(phase, more) {
  room.enter(phase, more);
  composer.ready = room.live;
  if (phase !== "failed") return;
  conversation.settle();
  latency.stop();
  stage.clear();
  activity.set("idle");
}

function channelChanged(current, state) {
  if (state === "open") {
    notices.dismiss("socket_lost");
    current.send({ type: "listen", mode: microphone.mode });
  } else if (state === "refused") {
    tell({ code: "auth_failed" });
  } else {
    setTimeout(() => {
      if (session !== current || current.socketOpen || !room.live) return;
      notices.show({ code: "socket_lost", kind: "warning", title: t("notice.socket_lost"), text: t("notice.socket_lost.text") });
    }, PATIENCE_MS);
  }
}

function hangUp() {
  if (["welcome", "ended"].includes(room.phase)) return;
  session?.close();
  session = null;
  conversation.settle();
  latency.stop();
  stage.clear();
  theirVoice.detach();
  microphone.close();
  activity.set("idle");
  wakeLock?.release();
  wakeLock = null;
  enter("ended");
  if (!chat.empty) chat.add("system", "final", t("chat.ended"));
}

/** A phone must not fall asleep in the middle of a talk. Refused on low battery, which is fine. */
async function keepAwake() {
  try { wakeLock ??= await navigator.wakeLock?.request("screen"); } catch { wakeLock = null; }
}

/* The microphone ------------------------------------------------------------------------------------------------ */

async function acquireMicrophone() {
  try {
    await microphone.acquire();
    for (const code of ["not_found", "denied", "busy", "ended", "failed"]) notices.dismiss(`mic_${code}`);
  } catch (failure) {
    tellMicrophone(failure);
  }
}

/** Later than at the start: the running connection has to learn of the new track. */
async function turnOnMicrophone() {
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
function showStatus(status, content = "") {
  activity.set(status, content);
  chat.waiting = status === "thinking";
  if (status !== "error") return;
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
  if (!room.live) return;
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
  try {
    await navigator.clipboard.writeText(chat.transcript());
    notices.show({ code: "copied", title: t("chat.copied") });
  } catch {
    notices.show({ code: "copied", kind: "warning", title: t("chat.copy.failed") });
  }
}

/* Wiring -------------------------------------------------------------------------------------------------------- */

composer.onSend = say;
upload.credentials = () => session.credentials;
chat.onChange = () => {
  $("suggestions").hidden = !chat.empty;
  $("copy").hidden = chat.empty;
};
onLanguage(describeServer);
$("start").addEventListener("click", start);
$("retry").addEventListener("click", connect);
$("language").addEventListener("click", switchLanguage);
$("copy").addEventListener("click", copyConversation);
for (const chip of document.querySelectorAll(".chip")) chip.addEventListener("click", () => say(chip.textContent));
window.addEventListener("pagehide", hangUp);
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
learnServer().catch(() => { /* asked again on Start, which then says what is wrong */ });
