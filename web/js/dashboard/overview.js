/** Health at a glance: the verdict in words, and the server's figures with their last minutes. */
import { Sparkline } from "./charts.js";
import { $, el, icon, Keyed, put, set } from "./dom.js";
import { figure, NONE } from "./format.js";
import { t } from "./language.js";
import { lastMark } from "./turns_math.js";
import { median, span } from "./units.js";

const POINTS = 300;
const SHOWN_FINDINGS = 6;

/** Name, what it reads, how it is written, how far its scale reaches at least. */
const TILES = [
  { name: "sessions", read: (server) => server.sessions, write: (value, { server }) => [figure(value), t("tile.of", { value: figure(server.max_sessions) })], ceiling: (server) => server.max_sessions },
  { name: "sockets", read: (server) => server.sockets, write: (value) => [figure(value), ""], ceiling: () => 4 },
  { name: "cpu_percent", read: (server) => server.cpu_percent, write: (value) => [figure(value, value < 10 ? 1 : 0), "%"], ceiling: () => 100 },
  { name: "rss_mb", read: (server) => server.rss_mb, write: (value) => [figure(value), "MB"], ceiling: (server) => server.rss_mb * 1.25 },
  { name: "loop_lag_ms", read: (server) => server.loop_lag_ms, write: (value) => [figure(value, value < 10 ? 1 : 0), t("unit.ms.alone")], ceiling: () => 20 },
  { name: "fps", read: (_, fps) => fps, write: (value) => [figure(value, 1), ""], ceiling: () => 25 },
];

export class Overview {
  #findings = new Keyed($("findings"), (finding) => this.#finding(finding));
  #tiles = new Map();
  #onSession;

  /** @param {(sessionid: string) => void} onSession called when a finding about a session is followed */
  constructor(onSession) {
    this.#onSession = onSession;
    for (const { name } of TILES) this.#tiles.set(name, tile(name));
    this.#tiles.set("answer", tile("answer", false));
    $("tiles").append(...[...this.#tiles.values()].map(({ node }) => node));
  }

  show(snapshot, trends, findings) {
    this.#verdict(snapshot, findings);
    for (const { name, read, write, ceiling } of TILES) {
      const past = trends.server(name);
      const now = read(snapshot.server, past.at(-1));
      const [text, unit] = now === null || now === undefined ? [NONE, ""] : write(now, snapshot);
      this.#tiles.get(name).update(text, unit, past, ceiling(snapshot.server));
    }
    const spoken = snapshot.turns.map(({ marks }) => marks.on_wire).filter((value) => value !== null);
    const answer = median(spoken);
    this.#tiles.get("answer").update(figure(answer), answer === null ? "" : t("unit.ms.alone"), snapshot.turns.map(({ marks }) => lastMark(marks)), 500);
  }

  /** Without a connection nobody knows how the server is. */
  doubt() {
    set($("verdict"), "data-level", "unknown");
    put($("verdict-title"), t("verdict.unknown"));
  }

  relabel() {
    this.#findings.clear();
    for (const one of this.#tiles.values()) one.relabel();
  }

  #verdict({ server }, findings) {
    const bad = findings.some(({ level }) => level === "bad");
    const level = bad ? "bad" : findings.length ? "warn" : "ok";
    set($("verdict"), "data-level", level);
    put($("verdict-title"), level === "ok" ? t(server.sessions ? "verdict.ok" : "verdict.idle") : t(findings.length > 1 ? "verdict.look" : "verdict.one", { count: findings.length }));
    const { asr, dialogue, tts, lipsync, face } = server.adapters;
    put($("verdict-facts"), [t("facts.version", { value: server.version }), t("facts.uptime", { value: span(server.uptime_s) })].join(" · "));
    put($("verdict-chain"), [asr, dialogue, tts, lipsync, face].filter(Boolean).join(" → "));
    this.#findings.show(findings.slice(0, SHOWN_FINDINGS), ({ text }) => text);
    const more = findings.length - SHOWN_FINDINGS;
    $("findings-more").hidden = more <= 0;
    put($("findings-more"), t("findings.more", { count: more }));
  }

  #finding({ level, text, sessionid }) {
    const mark = el("span", { class: "finding-mark", "data-level": level }, icon("warn"));
    const body = sessionid
      ? el("button", { type: "button", class: "link", onclick: () => this.#onSession(sessionid) }, text)
      : el("span", {}, text);
    return { node: el("li", {}, mark, body), update: (now) => set(mark, "data-level", now.level) };
  }
}

/** One figure with its line. */
function tile(name, timed = true) {
  const label = el("span", { class: "tile-label" }, t(`tile.${name}`));
  const value = el("b", { class: "tile-value" }, NONE);
  const unit = el("span", { class: "tile-unit" });
  const line = new Sparkline(timed ? POINTS : 50);
  return {
    node: el("div", { class: "tile", id: `tile-${name}` }, label, el("p", {}, value, " ", unit), line.node),
    update(text, unitText, past, ceiling) {
      put(value, text);
      put(unit, unitText);
      line.update(past, { ceiling, label: describe(name, past, timed) });
    },
    relabel: () => put(label, t(`tile.${name}`)),
  };
}

function describe(name, past, timed) {
  const known = past.filter((value) => value !== null && value !== undefined);
  if (!known.length) return t(`tile.${name}`);
  const range = { name: t(`tile.${name}`), low: figure(Math.min(...known), 1), high: figure(Math.max(...known), 1) };
  return t(timed ? "spark.time" : "spark.turns", range);
}
