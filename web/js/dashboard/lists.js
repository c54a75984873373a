/** The plain lists: grouped errors, recognitions, sockets that belong to no live session. */
import { $, el, Keyed, put, set } from "./dom.js";
import { clock, figure } from "./format.js";
import { t, word } from "./language.js";
import { socketRow } from "./session_details.js";
import { shortId } from "./units.js";

const RECENT_MS = 5 * 60_000;
const SHOWN = 12;

export class Lists {
  #now = 0;
  #errors = new Keyed($("error-rows"), () => this.#error());
  #recognitions = new Keyed($("recognition-rows"), recognition);
  #sockets = new Keyed($("socket-rows"), socketRow);

  show({ at, errors, recognitions, other_sockets: sockets }) {
    this.#now = at;
    const groups = [...errors].sort((a, b) => b.last_at - a.last_at);
    put($("error-count"), String(errors.reduce((sum, { count }) => sum + count, 0)));
    $("errors-empty").hidden = groups.length > 0;
    this.#errors.show(groups.slice(0, SHOWN), ({ stage, adapter, code, message }) => [stage, adapter, code, message].join("\n"));
    const turns = byTurn(recognitions);
    $("recognitions-empty").hidden = turns.length > 0;
    this.#recognitions.show(turns.slice(0, SHOWN), turnKey);
    put($("socket-count"), String(sockets.length));
    $("other-sockets").hidden = sockets.length === 0;
    this.#sockets.show(sockets, ({ connection }) => connection);
  }

  relabel() {
    this.#errors.clear();
    this.#recognitions.clear();
    this.#sockets.clear();
  }

  #error() {
    const count = el("b", { class: "count" });
    const message = el("p", { class: "error-message" });
    const about = el("p", { class: "fine" });
    const node = el("li", { class: "error" }, count, el("div", {}, message, about));
    const update = (group) => {
      set(node, "data-recent", this.#now - group.last_at < RECENT_MS ? "true" : "false");
      put(count, t("errors.times", { count: figure(group.count) }));
      put(message, group.message || group.code);
      const source = [word("stage", group.stage), group.adapter, group.code].filter(Boolean).join(" · ");
      const times = group.count > 1 ? t("errors.range", { first: clock(group.first_at), last: clock(group.last_at) }) : clock(group.last_at);
      put(about, [source, times, group.sessionid ? shortId(group.sessionid) : ""].filter(Boolean).join(" · "));
    };
    return { node, update };
  }
}

const turnKey = ({ sessionid, sequence }) => `${sessionid}#${sequence}`;

/** The newest result of each turn, newest turn first; `earlier`: the texts that it replaced, in order. */
function byTurn(recognitions) {
  const turns = new Map();
  for (const result of recognitions) {
    const before = turns.get(turnKey(result));
    const earlier = before ? [...before.earlier, before.text] : [];
    turns.delete(turnKey(result));
    turns.set(turnKey(result), { ...result, earlier });
  }
  return [...turns.values()].reverse();
}

function recognition() {
  const text = el("p", { class: "recognition-text" });
  const about = el("p", { class: "fine" });
  const node = el("li", { class: "recognition" }, text, about);
  const update = (result) => {
    set(node, "data-stage", result.stage);
    put(text, result.text || t("recognition.empty"));
    const audio = result.end > 0 ? t("recognition.span", { start: figure(result.start, 1), end: figure(result.end, 1) }) : "";
    const before = result.earlier.length ? t("recognition.after", { count: figure(result.earlier.length) }) : "";
    set(node, "title", result.earlier.join("\n"));
    put(about, [clock(result.at), shortId(result.sessionid), `#${result.sequence} ${word("recognition", result.stage)}`, result.engine, audio, before]
      .filter(Boolean).join(" · "));
  };
  return { node, update };
}
