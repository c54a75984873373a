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
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { Subtitles } from "./subtitles.js";
import { Upload } from "./upload.js";

const $ = (id) => document.getElementById(id);

const link = new URLSearchParams(location.search);
const chat = new Chat($("log"));
const notices = new Notices($("notice"));
const curtain = new Curtain($("curtain"));
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
  onStatus: (status, content) => {
    activity.set(status, content);
    if (status === "error" && content) notices.show({ code: "status", kind: "error", title: content });
  },
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
  { live: () => connection === "connected", needMicrophone: turnOnMicrophone, interrupt, upload: () => upload.choose(), hangup: hangUp },
);

let config = null;
let session = null;
let connection = "idle";
let wakeLock = null;

/* Language and server information ------------------------------------------------------------------------------- */

function describeServer() {
  const languages = config?.asr?.languages ?? ["*"];
  const named = !languages.includes("*") && languages.length > 0;
  $("microphone-note").textContent = named ? t("welcome.note.languages", { languages: languageNames(languages) }) : t("welcome.note.any");
}

/** The connection in words. */
function connectionText() {
  return t(`connection.${{ welcome: "idle", ended: "closed" }[connection] ?? connection}`);
}

function writeConnection() {
  $("connection").dataset.state = connection;
  $("connection").querySelector(".readout-text").textContent = connectionText();
  $("language").querySelector(".language-name").textContent = t("language.switch");
  $("language").setAttribute("aria-label", t("language.switch.label"));
  $("language").title = t("language.switch.label");
  $("language").lang = currentLanguage() === "zh" ? "en" : "zh-CN";
}

async function learnServer() {
  config = await readConfig();
  composer.limit = config.max_text_chars;
  upload.limitMegabytes = config.max_upload_mb;
  define({ avatar: config.avatar_name });
}

/** The face's own picture, where the server has one; otherwise the drawn silhouette stays. */
function loadPoster() {
  stage.poster = $("poster").src;
  const picture = new Image();
  picture.onload = () => { $("poster").src = picture.src; stage.poster = picture.src; };
  picture.src = "./poster.png";
}

/* Conversation ---------------------------------------------------------------------------------------------------- */

function setPhase(phase, { error, attempt, limit } = {}) {
  connection = phase;
  document.body.dataset.phase = phase;
  const welcoming = phase === "ended" || phase === "welcome";
  $("stage").inert = welcoming;
  $("welcome").inert = !welcoming;
  composer.ready = phase === "connected";
  for (const id of ["interrupt", "upload"]) $(id).disabled = phase !== "connected";
  for (const chip of document.querySelectorAll(".chip")) chip.disabled = phase !== "connected";
  writeConnection();
  if (phase !== "welcome") $("status").textContent = connectionText();
  if (phase === "connecting") curtain.wait(() => ({ title: t("curtain.connecting") }));
  if (phase === "reconnecting") {
    conversation.settle();
    curtain.wait(() => ({ title: t("curtain.reconnecting"), text: t("curtain.reconnecting.text", { attempt, limit }) }));
  }
  if (phase === "connected") curtain.hide();
  if (phase === "failed") fail(error);
}

function fail(error) {
  conversation.settle();
  latency.stop();
  activity.set("idle");
  curtain.error(error.code, () => describe(error));
  const { title, text } = describe(error);
  $("status").textContent = `${title} ${text}`;
}

function watch(current) {
  let before = current.phase;
  current.addEventListener("phase", ({ detail }) => {
    setPhase(detail.phase, detail);
    if (detail.phase === "connected" && before === "reconnecting") notices.show({ code: "reconnected", title: t("notice.reconnected") });
    before = detail.phase;
  });
  current.addEventListener("stream", ({ detail }) => { stage.show(detail); theirVoice.attach(detail); });
  current.addEventListener("message", ({ detail }) => conversation.receive(detail));
  current.addEventListener("renewed", () => notices.show({ code: "renewed", title: t("notice.new_session") }));
  current.addEventListener("socket", ({ detail }) => {
    if (detail === "open") {
      notices.dismiss("socket_lost");
      current.send({ type: "listen", mode: microphone.mode });
    } else if (detail === "refused") {
      notices.show({ kind: "error", ...describe({ code: "auth_failed" }) });
    } else if (connection === "connected") {
      setTimeout(() => {
        if (session !== current || current.socketOpen || connection !== "connected") return;
        notices.show({ code: "socket_lost", kind: "warning", title: t("notice.socket_lost"), text: t("notice.socket_lost.text") });
      }, 2000);
    }
  });
}

async function start() {
  wakeAudio();
  setPhase("connecting");
  $("ended").hidden = true;
  if ($("use-microphone").checked) {
    curtain.wait(() => ({ title: t("curtain.starting"), text: t("curtain.starting.text") }));
    await acquireMicrophone();
    if (connection !== "connecting") return microphone.close();
  }
  await connect();
  if (connection === "connected" && !microphone.available) composer.focus();
  return undefined;
}

async function connect() {
  setPhase("connecting");
  try {
    if (!config) await learnServer();
  } catch (failure) {
    setPhase("failed", { error: failure });
    return;
  }
  if (connection !== "connecting") return;
  if (!session) {
    session = new Session({ iceServers: config.ice_servers ?? [], avatar: link.get("avatar") ?? undefined, token: link.get("token") ?? undefined });
    watch(session);
  }
  const current = session;
  latency.start(() => current.stats());
  keepAwake();
  await current.open(microphone.track);
}

function hangUp() {
  if (connection === "welcome" || connection === "ended") return;
  session?.close();
  session = null;
  conversation.settle();
  latency.stop();
  stage.clear();
  theirVoice.detach();
  microphone.close();
  curtain.hide();
  activity.set("idle");
  wakeLock?.release();
  wakeLock = null;
  setPhase("ended");
  $("ended").hidden = false;
  $("start").dataset.i18n = "welcome.again";
  $("start").textContent = t("welcome.again");
  if (!chat.empty) chat.add("system", "final", t("chat.ended"));
  $("start").focus({ preventScroll: true });
}

/* Microphone -------------------------------------------------------------------------------------------------------- */

async function acquireMicrophone() {
  try {
    await microphone.acquire();
    for (const code of ["not_found", "denied", "busy", "ended", "failed"]) notices.dismiss(`mic_${code}`);
  } catch (failure) {
    tellMicrophone(failure);
  }
}

function tellMicrophone(failure) {
  const hopeless = ["insecure", "unsupported"].includes(failure.code);
  notices.show({ kind: "warning", ...describeMicrophone(failure), action: hopeless ? null : { label: t("notice.retry"), run: turnOnMicrophone } });
}

/** Later than at the start: the running connection has to learn of the new track. */
async function turnOnMicrophone() {
  wakeAudio();
  await acquireMicrophone();
  if (microphone.available) await session?.useMicrophone(microphone.track);
}

microphone.onChange = () => {
  controls.refresh();
  if (microphone.available && microphone.mode !== "off") myVoice.attach(microphone.stream);
  else myVoice.detach();
};
microphone.onListen = (change) => session?.send({ type: "listen", ...change });
microphone.onEnded = () => tellMicrophone({ code: "ended" });

/* Talking ----------------------------------------------------------------------------------------------------------- */

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
  if (connection !== "connected") return;
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

/** A phone must not fall asleep in the middle of a talk. Refused on low battery, which is fine. */
async function keepAwake() {
  try { wakeLock ??= await navigator.wakeLock?.request("screen"); } catch { wakeLock = null; }
}

/* Wiring ------------------------------------------------------------------------------------------------------------ */

composer.onSend = say;
upload.credentials = () => session.credentials;
chat.onChange = () => {
  $("suggestions").hidden = !chat.empty;
  $("copy").hidden = chat.empty;
};
onLanguage(() => { writeConnection(); describeServer(); });
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
        connection,
        socket: session?.socketOpen ?? false,
        activity: activity.status,
        microphone: microphone.mode,
        language: currentLanguage(),
        ...latency.figures,
      });
    },
  }),
});

setPhase("welcome");
fill();
loadPoster();
learnServer().catch(() => { /* asked again on Start, which then says what is wrong */ });
