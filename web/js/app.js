/** Composition: which part hears of what. */
import { Activity } from "./activity.js";
import { interruptTalk, readConfig, sendText } from "./api.js";
import { Call } from "./call.js";
import { Chat } from "./chat.js";
import { copyText } from "./clipboard.js";
import { Composer } from "./composer.js";
import { Confirm } from "./confirm.js";
import { Controls } from "./controls.js";
import { Conversation } from "./conversation.js";
import { Curtain } from "./curtain.js";
import { Drop } from "./drop.js";
import { Earlier } from "./earlier.js";
import { describe, describeMicrophone } from "./failure.js";
import { currentLanguage, define, fill, languageNames, onLanguage, switchLanguage, t } from "./i18n.js";
import { Latency } from "./latency.js";
import { Memory } from "./memory.js";
import { Look } from "./look.js";
import { Menu } from "./menu.js";
import { Meter } from "./meter.js";
import { Microphone } from "./microphone.js";
import { Notices } from "./notice.js";
import { Picker } from "./picker.js";
import { Room } from "./room.js";
import { wakeAudio } from "./sound/context.js";
import { Puppet } from "./puppet/puppet.js";
import { Stage } from "./stage.js";
import { Stills } from "./stills.js";
import { ChatStorage } from "./storage.js";
import { Subtitles } from "./subtitles.js";
import { linkOf } from "./ticket.js";
import { Transport } from "./transport.js";
import { TransportChoice } from "./transport_choice.js";
import { Upload } from "./upload.js";
import { UploadChoice } from "./upload_choice.js";
import { VoiceLine } from "./voice_line.js";

const RESTYLE_MS = 300;

const $ = (id) => document.getElementById(id);

const room = new Room(new Curtain($("curtain")));
const chat = new Chat($("log"));
const notices = new Notices($("notice"));
const voiceLine = new VoiceLine(notices);
const memory = new Memory(
  new ChatStorage(), chat, new Earlier($("earlier")), new Confirm($("confirm")), notices, $("enable-storage"),
);
const latency = new Latency($("latency"));
const subtitles = new Subtitles($("subtitle"));
const activity = new Activity($("state"), document.querySelector(".portrait"));
const link = new URLSearchParams(location.search);
const look = new Look(() => memory.enabled, link);
const transport = new Transport(() => memory.enabled, link);
const puppet = new Puppet($("puppet"), look);
const stage = new Stage({
  video: $("video"), unmute: $("unmute"), ambient: $("ambient"), cutout: $("cutout"), frozen: $("frozen"), puppet,
});
const stills = new Stills(look, [$("poster"), $("still")]);
for (const id of ["cast", "look-picker"]) new Picker($(id), look);
const composer = new Composer($("composer"));
const uploadChoice = new UploadChoice($("upload-choice"));
const upload = new Upload(chat, $("file"), uploadChoice);
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
  onUpload: (news) => upload.receive(news),
  onVoiceLine: (news, past) => voiceLine.receive(news, past),
  onSettled: () => { upload.settle(); voiceLine.forget(); },
  timeOf: (number) => memory.timeOf(number),
});
const controls = new Controls(
  microphone,
  { mic: $("mic"), ptt: $("ptt"), talk: $("talk"), interrupt: $("interrupt"), upload: $("upload"), hangup: $("hangup") },
  { live: () => room.joined, needMicrophone: turnOnMicrophone, interrupt, upload: () => upload.choose(), hangup: hangUp },
);

const call = new Call(
  { room, chat, conversation, memory, microphone, notices, latency, stage, activity, theirVoice, composer, look, transport },
  { config: serverConfig, link, acquireMicrophone, interrupt, wanted: () => $("use-microphone").checked },
);

let config = null;

/* The server ---------------------------------------------------------------------------------------------------- */

/** What the server is and allows, asked for once. */
async function serverConfig() {
  if (config) return config;
  config = await readConfig();
  composer.limit = config.max_text_chars;
  upload.limitMegabytes = config.max_upload_mb;
  upload.limitMinutes = config.max_upload_minutes;
  memory.server = Boolean(config.history);
  if (config.video) {
    stage.ratio = config.video.width / config.video.height;
    document.documentElement.style.setProperty("--ratio", String(stage.ratio));
  }
  define({ avatar: config.avatar_name });
  return config;
}

/** Begins with what stands in the way of a call, where something does. */
function describeServer() {
  if (config?.auth && !config.auth.open && !call.invited) {
    $("microphone-note").textContent = t("welcome.note.invitation");
    return;
  }
  const led = config?.voice?.engine && config.voice.sessions === "all";
  const languages = led ? ["*"] : config?.asr?.languages ?? ["*"];
  const named = languages.length > 0 && !languages.includes("*");
  $("microphone-note").textContent = named ? t("welcome.note.languages", { languages: languageNames(languages) }) : t("welcome.note.any");
}

/** Who moves through the faces with the keys passes some: only the one that is stayed with is called. */
let restyling = 0;
function restyle() {
  clearTimeout(restyling);
  restyling = setTimeout(() => call.restyle(), RESTYLE_MS);
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
  if (microphone.available) await call.session?.useMicrophone(microphone.track);
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
microphone.onListen = (change) => call.session?.send({ type: "listen", ...change });
microphone.onEnded = () => tellMicrophone({ code: "ended" });

/* Talking ------------------------------------------------------------------------------------------------------- */

/** The server writes its standard texts in Chinese; only what goes beyond the bare word is worth showing. */
function showStatus(status, content = "", past = false) {
  activity.set(status, content);
  puppet.activity = status;
  chat.waiting = status === "thinking";
  if (status !== "error" || past) return;
  notices.show({ code: "status", kind: "error", title: t("state.error"), text: content === "出错了" ? "" : content });
}

async function say(text) {
  try {
    await sendText(call.session.credentials, text);
    return true;
  } catch (failure) {
    tell(failure);
    return false;
  }
}

async function interrupt() {
  if (!room.joined) return;
  upload.stop();
  const { session } = call;
  session.hush();
  subtitles.clear();
  try {
    await interruptTalk(session.credentials);
  } catch (failure) {
    session.unhush();
    tell(failure);
  }
}

function hangUp() {
  upload.stop();
  uploadChoice.dismiss();
  call.hangUp();
}

function tell(failure) {
  if (failure.code !== "aborted") notices.show({ kind: "error", ...describe(failure) });
}

async function copyConversation() {
  if (await copyText(chat.transcript())) notices.show({ code: "copied", title: t("chat.copied") });
  else notices.show({ code: "copied", kind: "warning", title: t("chat.copy.failed") });
}

async function shareConversation() {
  if (!call.session) return;
  if (await copyText(linkOf(call.session.credentials))) notices.show({ code: "copied", title: t("chat.shared"), text: t("chat.shared.text") });
  else notices.show({ code: "copied", kind: "warning", title: t("chat.copy.failed") });
}

/* Wiring -------------------------------------------------------------------------------------------------------- */

composer.onSend = say;
upload.credentials = () => call.session?.credentials ?? null;
new Drop($("drop"), { ready: () => room.joined, onFiles: (files) => upload.take(files) });
chat.onChange = () => {
  $("suggestions").hidden = !chat.empty;
  $("copy").disabled = chat.empty;
  $("clear").disabled = memory.empty;
};
memory.onSwitch = (enabled) => { call.tellStorage(enabled); setTimeout(() => { look.keep(); transport.keep(); }); };
new TransportChoice($("transport"), $("without-webrtc"), transport, () => call.reroute());
look.addEventListener("chosen", restyle);
look.addEventListener("offered", () => { $("look-open").hidden = look.presenters.length === 0; });
new Menu($("more"), $("menu"));
$("look-open").addEventListener("click", () => $("look").showModal());
$("look-close").addEventListener("click", () => $("look").close());
$("look").addEventListener("click", ({ target }) => target === $("look") && $("look").close());
onLanguage(describeServer);
$("start").addEventListener("click", () => call.start());
$("retry").addEventListener("click", () => call.again());
$("language").addEventListener("click", switchLanguage);
$("copy").addEventListener("click", copyConversation);
$("share").addEventListener("click", shareConversation);
$("clear").addEventListener("click", () => memory.clear());
for (const chip of document.querySelectorAll(".chip")) chip.addEventListener("click", () => say(chip.textContent));
// After a reload there is no sound meter before the first gesture.
for (const gesture of ["pointerdown", "keydown"]) window.addEventListener(gesture, wakeAudio, { once: true });

/** For tests and for people with a console open; reading only. */
Object.defineProperty(window, "eman", {
  value: Object.freeze({
    get state() {
      return Object.freeze({
        sessionid: call.session?.id ?? "",
        connection: room.phase,
        socket: call.session?.socketOpen ?? false,
        activity: activity.status,
        microphone: microphone.mode,
        language: currentLanguage(),
        media: call.session?.media ?? "",
        sound: call.session?.sound ?? null,
        mouth: puppet.mouth,
        mood: puppet.mood,
        ...latency.figures,
      });
    },
  }),
});

room.enter("welcome");
fill();
stills.begin();
look.load();
chat.changed();
const resuming = call.resume();
// The phase itself hides the first screen now; see early.js.
delete document.documentElement.dataset.resuming;
if (!resuming) serverConfig().catch(() => { /* asked again on Start, which then says what is wrong */ });
