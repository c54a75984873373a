/** The table of sessions: one row each, which opens to its details. */
import { Sparkline } from "./charts.js";
import { $, el, icon, iconButton, Keyed, put, set } from "./dom.js";
import { figure } from "./format.js";
import { t, word } from "./language.js";
import { Details } from "./session_details.js";
import { ms, percent, span } from "./units.js";

const POINTS = 60;
const COLUMNS = ["state", "session", "fps", "late", "network", "queues", "storage", "actions"];

export class SessionTable {
  #rows = new Keyed($("session-table"), (session) => this.#make(session), $("session-table").tHead);
  #opened = new Set();
  #actions;
  #adapters = {};
  #trends;
  #troubles = new Map();

  /** @param {{stop: Function, say: Function, message: Function}} actions each called with a session */
  constructor(actions) {
    this.#actions = actions;
    this.relabel();
  }

  show(snapshot, trends, findings) {
    this.#adapters = snapshot.server.adapters;
    this.#trends = trends;
    this.#troubles = grouped(findings);
    put($("session-count"), String(snapshot.sessions.length));
    $("sessions-empty").hidden = snapshot.sessions.length > 0;
    $("session-table").hidden = snapshot.sessions.length === 0;
    this.#rows.show(snapshot.sessions, ({ sessionid }) => sessionid);
  }

  /** Open a session's details and show them. */
  reveal(sessionid) {
    const row = [...document.querySelectorAll("tbody[data-session]")].find(({ dataset }) => dataset.session === sessionid);
    if (!row) return;
    const toggle = row.querySelector(".toggle");
    if (toggle.getAttribute("aria-expanded") !== "true") toggle.click();
    row.scrollIntoView({ block: "center", behavior: "smooth" });
    toggle.focus({ preventScroll: true });
  }

  relabel() {
    this.#rows.clear();
    for (const cell of document.querySelectorAll("#session-table th")) cell.textContent = t(`column.${cell.dataset.column}`);
  }

  #make({ sessionid }) {
    const row = new Row(sessionid, this.#actions, (open) => this.#opened[open ? "add" : "delete"](sessionid));
    row.toggle(this.#opened.has(sessionid));
    return {
      node: row.node,
      update: (session) => row.update(session, this.#trends, this.#adapters, this.#troubles.get(sessionid) ?? []),
    };
  }
}

/** A session: a row of figures, and its details below when opened. */
class Row {
  #session;
  #cells = {};
  #spark = new Sparkline(POINTS);
  #parts = {};
  #details = new Details();
  #toggle;
  #watch;
  #fold;
  #showDetails = () => {};

  constructor(sessionid, actions, onToggle) {
    const foldId = `details-${sessionid}`;
    this.#toggle = el("button", {
      type: "button", class: "toggle tool", "aria-expanded": "false", "aria-controls": foldId, "aria-label": t("session.details"), title: t("session.details"),
      onclick: () => { this.toggle(this.#fold.hidden); onToggle(!this.#fold.hidden); },
    }, icon("chevron"));
    this.#cells = Object.fromEntries(COLUMNS.map((name) => [name, el("td", { role: "cell", class: `cell-${name}`, "data-label": t(`column.${name}`) })]));
    this.#fill(actions);
    this.#fold = el("tr", { role: "row", class: "fold", id: foldId, hidden: true }, el("td", { role: "cell", colspan: COLUMNS.length }, this.#details.node));
    const cells = COLUMNS.map((name) => this.#cells[name]);
    this.node = el("tbody", { role: "rowgroup", "data-session": sessionid }, el("tr", { role: "row", class: "main" }, cells), this.#fold);
  }

  toggle(open) {
    this.#fold.hidden = !open;
    set(this.#toggle, "aria-expanded", open ? "true" : "false");
    if (open) this.#showDetails();
  }

  #fill(actions) {
    const part = (name, tag = "span", more = {}) => (this.#parts[name] = el(tag, { class: name, ...more }));
    this.#cells.state.append(el("div", {}, this.#toggle, part("activity")));
    this.#cells.session.append(part("id", "b"), part("about"));
    this.#cells.fps.append(part("fps", "b"), this.#spark.node);
    this.#cells.late.append(part("late", "b"), part("late-total"));
    this.#cells.network.append(part("rtt", "b"), part("loss"));
    this.#cells.queues.append(part("speech", "b"), part("waiting"));
    this.#cells.storage.append(part("storage"));
    const button = (name, act) => iconButton(name, t(`action.${name}`), () => act(this.#session));
    this.#cells.actions.append((this.#watch = button("watch", actions.watch)), button("speak", actions.say), button("message", actions.message), button("stop", actions.stop));
  }

  update(session, trends, adapters, troubles) {
    this.#session = session;
    const { network, queues, sockets } = session;
    const connected = session.link === "connected";
    const state = connected ? (session.speaking ? "speaking" : session.activity) : "lost";
    set(this.node, "data-state", state);
    this.#write("activity", connected ? word("state", state) : word("link", session.link));
    this.#write("id", session.sessionid);
    this.#watch.hidden = !session.device;
    const pictured = session.link_kind === "webrtc";
    const who = session.device ? `${session.device} · ${session.avatar}` : session.avatar;
    const about = t("session.about", { avatar: who, age: span(session.age_s), turns: session.turns });
    this.#write("about", pictured || session.device ? about : `${about} · ${t("session.sound_only")}`);
    this.#write("fps", figure(pictured ? session.fps : null, 1));
    const label = t("spark.fps", { id: session.sessionid });
    this.#spark.update(trends.session(session.sessionid, ({ fps }) => fps), { ceiling: 26, label });
    this.#write("late", percent(trends.lateShare(session.sessionid)));
    this.#write("late-total", t("session.skipped", { count: figure(session.pictures_skipped) }));
    this.#write("rtt", ms(network.rtt_ms));
    this.#write("loss", t("session.loss", { value: percent(network.loss_percent) }));
    this.#write("speech", t("session.speech", { value: figure(queues.speech_s, 1) }));
    const messages = sockets.reduce((sum, { queued }) => sum + queued, 0);
    this.#write("waiting", t("session.waiting", { replies: queues.replies, messages: Math.max(queues.messages, messages) }));
    this.#write("storage", t(session.storage ? "storage.on" : "storage.off"));
    set(this.#parts.storage, "data-on", session.storage ? "true" : "false");
    this.#mark(troubles);
    this.#showDetails = () => this.#details.update(session, trends, adapters);
    if (!this.#fold.hidden) this.#showDetails();
  }

  /** Figures that a finding is about are tinted and say why. */
  #mark(troubles) {
    for (const [name, node] of Object.entries(this.#parts)) {
      const why = troubles.filter(({ field }) => field === name);
      set(node, "data-level", why[0]?.level);
      set(node, "title", why.map(({ text }) => text).join("\n") || null);
    }
  }

  #write(name, text) {
    put(this.#parts[name], text);
  }
}

/** Findings by their session. */
function grouped(findings) {
  const groups = new Map();
  for (const finding of findings) groups.set(finding.sessionid, [...(groups.get(finding.sessionid) ?? []), finding]);
  return groups;
}
