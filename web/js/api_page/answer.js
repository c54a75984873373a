/** What came back: status, time, headers, body; a stream is shown as it comes. */
import { el } from "../dashboard/dom.js";
import { figure } from "../dashboard/format.js";
import { t } from "../dashboard/language.js";

const SHOWN_CHARS = 200_000;

export class Answer {
  node = el("div", { class: "answer", hidden: true, "aria-live": "polite" });
  #abort = null;

  /** End a stream that is still open. */
  stop() {
    this.#abort?.abort();
  }

  /**
   * Send a request and show what comes back.
   * @returns {Promise<object | null>} the JSON body, null when there was none
   */
  async send(request, onOpen = () => {}) {
    this.stop();
    const abort = this.#abort = new AbortController();
    const started = performance.now();
    this.node.hidden = false;
    this.node.replaceChildren(el("p", { class: "fine" }, t("answer.waiting")));
    try {
      const { url, method, headers, body } = request;
      const response = await fetch(url, { method, headers, body, signal: abort.signal });
      const took = performance.now() - started;
      if (response.headers.get("Content-Type")?.startsWith("text/event-stream")) return await this.#stream(response, took, onOpen);
      return await this.#whole(response, request, started);
    } catch (failure) {
      if (failure.name === "AbortError") return null;
      this.node.replaceChildren(status("error", t("answer.network"), ""), el("p", { class: "fine" }, String(failure)));
      return null;
    }
  }

  async #whole(response, request, started) {
    const type = response.headers.get("Content-Type") ?? "";
    const picture = type.startsWith("image/");
    const size = picture ? (await response.blob()).size : 0;
    const text = picture ? "" : await response.text();
    const value = parsed(text);
    const failed = !response.ok || value?.code === -1;
    const took = t("answer.took", { value: figure(performance.now() - started, 1) });
    const body = picture
      ? el("figure", { class: "picture" }, el("img", { src: request.url.href, alt: request.url.pathname }), el("figcaption", { class: "fine" }, t("answer.bytes", { type, count: figure(size) })))
      : code(value === null ? text : JSON.stringify(value, null, 2));
    const words = `${response.status} ${response.statusText}${value?.code === -1 ? ` · code -1 · ${value.error ?? ""}` : ""}`;
    this.node.replaceChildren(status(failed ? "error" : "ok", words, took), headersOf(response), body);
    return value;
  }

  async #stream(response, took, onOpen) {
    const log = code("");
    const state = status("ok", `${response.status} ${response.statusText}`, t("answer.took", { value: figure(took, 1) }));
    const live = el("p", { class: "fine stream-state" }, t("stream.open"));
    this.node.replaceChildren(state, headersOf(response), live, log);
    onOpen(true);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        log.textContent = `${log.textContent}${part.value}`.slice(-SHOWN_CHARS);
        log.scrollTop = log.scrollHeight;
      }
    } catch (failure) {
      if (failure.name !== "AbortError") log.textContent += `\n${failure}`;
    } finally {
      live.textContent = t("stream.closed");
      onOpen(false);
    }
    return null;
  }
}

function status(kind, words, took) {
  return el("p", { class: "status", "data-kind": kind }, el("b", {}, words), el("span", { class: "fine" }, took));
}

function headersOf(response) {
  const text = [...response.headers].map((pair) => pair.join(": ")).join("\n");
  return el("details", { class: "headers" }, el("summary", {}, t("answer.headers")), code(text));
}

/** Text as it is, in a box that scrolls. */
export function code(text) {
  return el("pre", { class: "code", tabindex: "0" }, text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text);
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}
