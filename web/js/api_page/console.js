/** A console for a WebSocket of the server: connect, send raw JSON, see every frame both ways. */
import { el } from "../dashboard/dom.js";
import { clock } from "../dashboard/format.js";
import { t } from "../dashboard/language.js";
import { credential } from "./credentials.js";
import { frame } from "./operation.js";

const KEEP = 400;

export class SocketConsole {
  node;
  #path;
  #examples;
  #socket = null;
  #log = el("ol", { class: "frames", role: "log", tabindex: "0", "aria-label": "frames" });
  #input = el("textarea", { rows: 2, spellcheck: "false", "aria-label": "JSON" });
  #connect = el("button", { type: "button", class: "primary" });
  #send = el("button", { type: "submit", class: "primary" }, t("send"));
  #choices = el("div", { class: "choices" });
  #current = 0;
  #touched = false;

  /** @param {import("./spec.js").Operation} operation with examples of messages */
  constructor(operation) {
    this.#path = operation.path;
    this.#examples = operation.examples;
    const clear = el("button", { type: "button", class: "quiet", onclick: () => this.#log.replaceChildren() }, t("socket.clear"));
    this.#connect.addEventListener("click", () => (this.#socket ? this.leave() : this.#open()));
    this.#choices.append(...this.#examples.map(({ type }, index) =>
      el("button", { type: "button", class: "chip", onclick: () => this.#choose(index) }, type)));
    this.#input.addEventListener("input", () => { this.#touched = true; });
    this.#input.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#say(); });
    const form = el("form", { class: "form", onsubmit: (event) => { event.preventDefault(); this.#say(); } },
      this.#choices, this.#input, el("div", { class: "form-buttons" }, this.#connect, this.#send, clear));
    this.node = frame(operation, form, this.#log);
    this.#choose(0);
    this.#state();
  }

  /** Take over changed credentials, unless the user has written something. */
  refresh() {
    if (!this.#touched) this.#choose(this.#current);
  }

  /** The page shows it no longer. */
  leave() {
    this.#socket?.close(1000);
  }

  #choose(index) {
    this.#current = index;
    this.#touched = false;
    this.#input.value = JSON.stringify(filled(this.#examples[index], this.#path));
  }

  #open() {
    const url = new URL(`.${this.#path}`, document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = this.#socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { this.#note("info", t("socket.opened", { url: url.href })); this.#state(); };
    socket.onmessage = ({ data }) => this.#note("in", typeof data === "string" ? data : t("socket.binary", { count: data.byteLength }));
    socket.onclose = ({ code, reason }) => { this.#note("info", t("socket.closed", { code, reason })); this.#socket = null; this.#state(); };
    this.#state();
  }

  #say() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(this.#input.value);
    this.#note("out", this.#input.value);
  }

  #state() {
    const open = this.#socket?.readyState === WebSocket.OPEN;
    this.#connect.textContent = t(this.#socket ? "socket.disconnect" : "socket.connect");
    this.#connect.classList.toggle("calm", this.#socket !== null);
    this.#send.disabled = !open;
  }

  #note(kind, text) {
    const sign = { in: "←", out: "→", info: "·" }[kind];
    const low = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 40;
    this.#log.append(el("li", { "data-kind": kind }, el("span", { class: "fine" }, `${clock(Date.now())} ${sign}`), el("code", {}, text)));
    while (this.#log.children.length > KEEP) this.#log.firstChild.remove();
    if (low) this.#log.scrollTop = this.#log.scrollHeight;
  }
}

/** An example with the session and token that are known; of an admin's socket, the admin token. */
function filled(example, path) {
  const id = credential("sessionid");
  const known = { token: credential(path.includes("/admin/") ? "adminToken" : "token") };
  if (id) Object.assign(known, { session_id: id, username: `User_${id}` });
  return Object.fromEntries(Object.entries(example).map(([key, value]) => [key, known[key] ?? value]));
}
