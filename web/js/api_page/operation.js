/** One operation of the document: its form, the request as text, the answer. */
import { el } from "../dashboard/dom.js";
import { has, t } from "../dashboard/language.js";
import { Answer, code } from "./answer.js";
import { Field, prose } from "./fields.js";
import { build, curl, raw } from "./request.js";

const COPIED_MS = 1500;

export class OperationView {
  node;
  #operation;
  #fields;
  #answer = new Answer();
  #raw = code("");
  #curl = code("");
  #send;
  #onAnswer;

  /**
   * @param {import("./spec.js").Operation} operation
   * @param {(operation: object, body: object | null) => void} onAnswer
   * @param {Element | null} extra shown above the form
   */
  constructor(operation, onAnswer, extra = null) {
    this.#operation = operation;
    this.#onAnswer = onAnswer;
    this.#fields = operation.fields.map((field) => new Field(field, () => this.#show()));
    this.#send = el("button", { type: "submit", class: "primary" }, t("send"));
    const stop = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.#answer.stop() }, t("stream.stop"));
    const form = el("form", { class: "form", novalidate: true, autocomplete: "off", onsubmit: (event) => { event.preventDefault(); this.send(stop); } },
      this.#fields.map(({ node }) => node), el("div", { class: "form-buttons" }, this.#send, stop));
    const request = el("details", { class: "request" }, el("summary", {}, t("request.title")),
      copyable(t("request.raw"), this.#raw), copyable("curl", this.#curl));
    this.node = frame(operation, extra, form, request, this.#answer.node);
    this.#show();
  }

  /** Take over changed credentials. */
  refresh() {
    for (const field of this.#fields) field.fill();
    this.#show();
  }

  /** The page shows it no longer. */
  leave() {
    this.#answer.stop();
  }

  /** Open it, write these values into its form. */
  fill(values) {
    this.node.open = true;
    for (const field of this.#fields) if (field.name in values) field.set(values[field.name]);
    this.#show();
  }

  /** Send what the form says. @returns {Promise<object | null>} the JSON body */
  async send(stop = null) {
    this.#show();
    this.#send.disabled = true;
    const opened = (open) => { if (stop) stop.hidden = !open; this.#send.disabled = false; };
    const body = await this.#answer.send(build(this.#operation, this.#fields), opened);
    this.#send.disabled = false;
    this.#onAnswer(this.#operation, body);
    return body;
  }

  #show() {
    const request = build(this.#operation, this.#fields);
    this.#raw.textContent = raw(request);
    this.#curl.textContent = curl(request);
  }
}

/** The frame of an operation: method, path and summary, which open to the rest. */
export function frame({ id, method, path, summary, description, examples }, ...inside) {
  const kind = examples ? "WS" : method;
  return el("details", { class: "operation", id: `operation-${id}`, "data-path": path },
    el("summary", {}, el("span", { class: "method", "data-method": kind }, kind), el("code", { class: "path" }, path), el("span", { class: "summary" }, has(`operation.${id}`) ? t(`operation.${id}`) : summary)),
    el("div", { class: "operation-body" }, description ? el("p", { class: "about" }, prose(description)) : null, ...inside));
}

/** A text with a button that copies it. */
function copyable(title, box) {
  const button = el("button", { type: "button", class: "quiet copy" }, t("copy"));
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(box.textContent);
      button.textContent = t("copied");
    } catch {
      // without https there is no clipboard: select it, so that the user's own copying works
      getSelection().selectAllChildren(box);
      button.textContent = t("copy.selected");
    }
    setTimeout(() => { button.textContent = t("copy"); }, COPIED_MS);
  });
  return el("div", { class: "copyable" }, el("div", { class: "copy-head" }, el("span", { class: "fine" }, title), button), box);
}
