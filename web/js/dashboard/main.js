/** The operator's page: one live connection, shown by the parts; actions go back over HTTP. */
import en from "../../i18n/dashboard.en.js";
import zh from "../../i18n/dashboard.zh.js";
import { setLogLevel, say, showMessage, stopSession, watchSession } from "./commands.js";
import { ask, prepareDialog, tell } from "./dialogs.js";
import { $, put, set } from "./dom.js";
import { Feed } from "./feed.js";
import { clock } from "./format.js";
import { findingsOf } from "./health.js";
import { fill, onLanguage, switchLanguage, t, useTables } from "./language.js";
import { Lists } from "./lists.js";
import { Overview } from "./overview.js";
import { SessionTable } from "./sessions.js";
import { adminToken, keepToken } from "./token.js";
import { Trends } from "./trends.js";
import { Turns } from "./turns.js";
import { shortId } from "./units.js";

useTables({ en, zh });

const trends = new Trends();
const sessions = new SessionTable({
  watch: async ({ sessionid }) => {
    const page = window.open("", "_blank"); // at the click: later the browser would take it for a pop-up
    const answer = await watchSession(sessionid);
    if (!answer.ok || !page) {
      page?.close();
      tell(answer, () => t("watch.blocked"));
      return;
    }
    const url = new URL("./webrtcapichat.html", document.baseURI);
    url.hash = new URLSearchParams({ session: answer.data.sessionid, token: answer.data.token });
    page.location = url;
  },
  stop: (session) => act(
    { title: t("stop.title"), text: t("stop.text", { id: session.sessionid }), action: t("stop.action"), danger: true },
    () => stopSession(session.sessionid), () => t("stop.done", { id: shortId(session.sessionid) })),
  say: (session) => act(
    { title: t("say.title"), text: t("say.text", { id: session.sessionid }), action: t("say.action"), field: t("say.field"), choices: true },
    (answer) => say(session.sessionid, answer), () => t("say.done", { id: shortId(session.sessionid) })),
  message: (session) => act(
    { title: t("message.title"), text: t("message.text", { id: session.sessionid }), action: t("message.action"), field: t("message.field") },
    ({ text }) => showMessage(text, session.sessionid), reached),
});
const overview = new Overview((sessionid) => sessions.reveal(sessionid));
const turns = new Turns();
const lists = new Lists();

let latest = null;
let shown = null;
let paused = false;
let link = { state: "connecting", detail: {} };

const feed = new Feed(
  (snapshot) => {
    latest = snapshot;
    trends.record(snapshot);
    if (!paused) show(snapshot);
  },
  (state, detail) => {
    link = { state, detail };
    showLink();
  },
);

function show(snapshot) {
  shown = snapshot;
  const findings = findingsOf(snapshot, trends);
  overview.show(snapshot, trends, findings);
  sessions.show(snapshot, trends, findings);
  turns.show(snapshot);
  lists.show(snapshot);
  const level = $("log-level");
  if (document.activeElement !== level && !level.disabled) level.value = snapshot.server.log_level;
  showLink();
}

function showLink() {
  const { state, detail } = link;
  const lost = state === "lost" || (state === "connecting" && shown !== null);
  const word = state === "open" ? (paused ? "paused" : "live") : lost ? "lost" : state;
  set(document.body, "data-link", word);
  put($("connection-text"), t(`link.${word}`));
  $("gate").hidden = state !== "refused";
  $("board").hidden = state === "refused" || shown === null;
  $("waiting").hidden = state === "refused" || shown !== null || lost;
  $("banner").hidden = !lost;
  put($("banner-since"), shown ? t("banner.since", { time: clock(shown.at) }) : t("banner.never"));
  put($("banner-retry"), state === "lost" ? t("banner.retry", { time: clock(detail.retryAt) }) : t("banner.trying"));
  $("frozen").hidden = !(paused && shown && !lost);
  put($("frozen-text"), shown ? t("frozen.since", { time: clock(shown.at) }) : "");
  if (lost) overview.doubt();
  document.title = lost ? t("page.title.lost") : t("page.title");
  if (state === "refused") {
    put($("gate-reason"), detail.message);
    $("gate-reason").hidden = !detail.message;
    set($("gate-reason"), "data-tried", adminToken() ? "true" : "false");
    if (document.activeElement?.form !== $("gate-form")) $("gate-token").focus();
  }
}

/** How many pages a message came to. */
function reached(data) {
  return data?.reached === 0 ? t("message.nobody") : t("message.done", { count: data?.reached ?? "" });
}

/** Ask, do, say what came of it; a refused token brings the form back. */
async function act(question, command, done) {
  const answer = await ask(question);
  if (answer) report(await command(answer), done);
}

function report(answer, done) {
  tell(answer, done);
  if (answer.status === 401) feed.open();
}

function pause(on) {
  paused = on;
  set($("pause"), "aria-pressed", String(on));
  set($("pause"), "data-i18n-label", on ? "pause.off" : "pause.on");
  put($("pause-text"), t(on ? "pause.off.short" : "pause.on.short"));
  set($("pause"), "aria-label", t(on ? "pause.off" : "pause.on"));
  if (!on && latest) show(latest);
  showLink();
}

$("pause").addEventListener("click", () => pause(!paused));
$("unfreeze").addEventListener("click", () => pause(false));
$("retry").addEventListener("click", () => feed.open());
$("language").addEventListener("click", switchLanguage);
$("broadcast").addEventListener("click", () => act(
  { title: t("broadcast.title"), text: t("broadcast.text"), action: t("message.action"), field: t("message.field") },
  ({ text }) => showMessage(text), reached));
$("log-level").addEventListener("change", async ({ target }) => {
  target.disabled = true;
  const answer = await setLogLevel(target.value);
  target.disabled = false;
  if (!answer.ok && shown) target.value = shown.server.log_level;
  report(answer, () => t("log.done", { level: target.value }));
});
$("gate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken($("gate-token").value.trim());
  feed.open(adminToken());
});
// what was hidden may have lost its line unnoticed; what comes back online need not wait for the back-off
window.addEventListener("online", () => link.state === "lost" && feed.open());

onLanguage(() => {
  put($("language-name"), t("language.switch"));
  for (const part of [overview, sessions, turns, lists]) part.relabel();
  pause(paused);
  if (shown) show(paused ? shown : latest);
});
prepareDialog();
fill();
feed.open(adminToken());
