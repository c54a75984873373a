/** What a session's row opens to: its lines of the last two minutes, counters, adapters and sockets. */
import { Sparkline } from "./charts.js";
import { el, Keyed, put, set } from "./dom.js";
import { figure } from "./format.js";
import { t } from "./language.js";
import { ms, span } from "./units.js";

const POINTS = 120;
const STAGES = ["asr", "dialogue", "tts", "voice", "lipsync", "face"];

const LINES = [
  { name: "fps", read: ({ fps }) => fps, ceiling: 26, write: (value) => figure(value, 1) },
  { name: "rtt", read: ({ network }) => network.rtt_ms, ceiling: 50, write: ms },
  { name: "speech", read: ({ queues }) => queues.speech_s, ceiling: 5, write: (value) => t("unit.s", { value: figure(value, 1) }) },
];

const FACTS = {
  username: ({ username }) => username,
  sent: ({ pictures_sent: sent }) => figure(sent),
  skipped: ({ pictures_skipped: skipped }) => figure(skipped),
  failed: ({ pictures_failed: failed }) => figure(failed),
  underruns: ({ underruns }) => figure(underruns),
  resyncs: ({ clock_resyncs: resyncs }) => figure(resyncs),
  jitter: ({ network }) => ms(network.jitter_ms),
  adapters: (_, adapters) => STAGES.map((stage) => adapters[stage]).filter(Boolean).join(" → "),
};

export class Details {
  #lines = LINES.map((line) => ({ ...line, spark: new Sparkline(POINTS), value: el("b") }));
  #facts = Object.keys(FACTS).map((name) => ({ name, value: el("dd") }));
  #list = el("ul", { class: "sockets" });
  #none = el("p", { class: "fine" }, t("sockets.none"));
  #sockets = new Keyed(this.#list, socketRow);

  constructor() {
    const lines = this.#lines.map(({ name, spark, value }) =>
      el("figure", { class: "line" }, el("figcaption", {}, el("span", {}, t(`line.${name}`)), value), spark.node));
    const facts = this.#facts.map(({ name, value }) => el("div", { class: `fact fact-${name}` }, el("dt", {}, t(`fact.${name}`)), value));
    this.node = el("div", { class: "details" },
      el("div", { class: "lines" }, lines),
      el("dl", { class: "facts" }, facts),
      el("div", {}, el("h3", {}, t("sockets.title")), this.#list, this.#none));
  }

  update(session, trends, adapters) {
    for (const { name, read, ceiling, write, spark, value } of this.#lines) {
      put(value, write(read(session)));
      spark.update(trends.session(session.sessionid, read), { ceiling, label: t("spark.line", { name: t(`line.${name}`) }) });
    }
    for (const { name, value } of this.#facts) put(value, FACTS[name](session, adapters));
    this.#none.hidden = session.sockets.length > 0;
    this.#sockets.show(session.sockets, ({ connection }) => connection);
  }
}

/** A socket as a line of text; `session_id` is told where the socket stands alone. */
export function socketRow() {
  const name = el("b");
  const state = el("span", { class: "socket-state" });
  const text = el("span", { class: "socket-text" });
  return {
    node: el("li", {}, state, name, text),
    update(socket) {
      const roles = Object.entries(socket.roles).map(([role, username]) => `${role} ${username}`).join(", ");
      set(state, "data-alive", socket.alive ? "true" : "false");
      set(state, "title", t(socket.alive ? "socket.alive" : "socket.dead"));
      put(name, socket.connection);
      put(text, [
        socket.session_id === undefined ? "" : t("socket.id", { id: socket.session_id }),
        roles || t("socket.no_role"),
        t("socket.age", { age: span(socket.age_s) }),
        t("socket.idle", { idle: span(socket.idle_s) }),
        t("socket.queued", { count: socket.queued }),
        socket.alive ? "" : t("socket.dead"),
      ].filter(Boolean).join(" · "));
    },
  };
}
