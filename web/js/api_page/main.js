/** The page for users of the API: every endpoint of the server's own document with a form and the raw answer. */
import en from "../../i18n/api_page.en.js";
import zh from "../../i18n/api_page.zh.js";
import { $, el, put } from "../dashboard/dom.js";
import { fill, has, onLanguage, switchLanguage, t, useTables, word } from "../dashboard/language.js";
import { SocketConsole } from "./console.js";
import { credential, onCredentials, setCredentials } from "./credentials.js";
import { MediaPanel } from "./media.js";
import { OperationView } from "./operation.js";
import { loadSpec, operationsOf } from "./spec.js";

const KEYS = { "key-session": "sessionid", "key-token": "token", "key-api": "apiKey", "key-admin": "adminToken" };

useTables({ en, zh });

let spec = null;
let views = new Map();

const media = new MediaPanel(async (sdp) => {
  const view = views.get("offer");
  view.fill({ sdp });
  return view.send();
});

/** All operations by their tags, and the list that leads to them. Made anew in another language; answers are lost then. */
function build() {
  for (const view of views.values()) view.leave();
  views = new Map();
  const groups = [];
  const links = [];
  for (const { name, description } of spec.tags) {
    const operations = operationsOf(spec).filter(({ tag }) => tag === name);
    const title = word("tag", name);
    groups.push(el("section", { class: "group", id: `group-${name}` }, el("h2", {}, title), el("p", { class: "fine" }, has(`about.${name}`) ? t(`about.${name}`) : description), operations.map(view)));
    links.push(el("li", {}, el("b", {}, title), el("ul", {}, operations.map(link))));
  }
  $("operations").replaceChildren(...groups);
  $("contents").replaceChildren(...links);
}

function view(operation) {
  const made = operation.examples ? new SocketConsole(operation) : new OperationView(operation, answered);
  views.set(operation.id, made);
  return made.node;
}

function link({ id, path, method, examples }) {
  const go = () => {
    const target = $(`operation-${id}`);
    target.open = true;
    target.scrollIntoView({ block: "start" });
    target.querySelector("summary").focus({ preventScroll: true });
  };
  const kind = examples ? "WS" : method;
  return el("li", {}, el("button", { type: "button", class: "jump", onclick: go }, el("span", { class: "method", "data-method": kind }, kind), el("code", {}, path)));
}

/** The session of a successful /offer fills the other forms. */
function answered({ id }, body) {
  if (id === "offer" && body?.sessionid) setCredentials({ sessionid: body.sessionid, token: body.token });
}

for (const [id, name] of Object.entries(KEYS)) {
  $(id).addEventListener("input", ({ target }) => setCredentials({ [name]: target.value.trim() }));
}
onCredentials(() => {
  for (const view of views.values()) view.refresh();
  for (const [id, name] of Object.entries(KEYS)) if (document.activeElement !== $(id)) $(id).value = credential(name);
});
$("language").addEventListener("click", switchLanguage);
onLanguage(() => {
  put($("language-name"), t("language.switch"));
  media.show();
  if (spec) build();
});
fill();

try {
  spec = await loadSpec();
  put($("version"), spec.info.version);
  build();
  $("waiting").hidden = true;
} catch (failure) {
  put($("waiting"), t("spec.failed", { message: String(failure) }));
}
