/** What deserves a look, and why. Pure: a snapshot and its trends in, findings out. */
import { figure } from "./format.js";
import { t } from "./language.js";
import { PARTS, partsOf } from "./turns_math.js";
import { median, ms, percent, shortId } from "./units.js";

const RECENT_MS = 5 * 60_000;
/** A session's first seconds: connecting, first pictures. */
const SETTLE_S = 5;

/**
 * @typedef {{level: "warn" | "bad", text: string, sessionid?: string, field?: string}} Finding `field`: what of the session's row it is about
 * @returns {Finding[]} worst first
 */
export function findingsOf(snapshot, trends) {
  const found = [...server(snapshot), ...snapshot.sessions.flatMap((one) => session(one, trends)), ...answers(snapshot), ...errors(snapshot)];
  return found.sort((a, b) => (a.level === "bad" ? 0 : 1) - (b.level === "bad" ? 0 : 1));
}

function server({ server: state }) {
  const found = [];
  if (!state.ready) found.push({ level: "bad", text: t("finding.not_ready") });
  if (state.loop_lag_ms > 100) found.push({ level: "bad", text: t("finding.lag", { value: ms(state.loop_lag_ms) }) });
  else if (state.loop_lag_ms > 25) found.push({ level: "warn", text: t("finding.lag", { value: ms(state.loop_lag_ms) }) });
  if (state.max_sessions && state.sessions >= state.max_sessions) found.push({ level: "warn", text: t("finding.full", { count: state.max_sessions }) });
  if (state.username_conflicts) found.push({ level: "warn", text: t("finding.conflicts", { count: state.username_conflicts }) });
  return found;
}

function session(one, trends) {
  const found = [];
  const id = one.sessionid;
  const add = (level, field, key, more = {}) => found.push({ level, field, sessionid: id, text: t(key, { id: shortId(id), ...more }) });
  if (one.age_s < SETTLE_S) return found;
  if (one.link !== "connected") {
    add("warn", "activity", "finding.link");
    return found;
  }
  const late = trends.lateShare(id);
  if (trends.growth(id, "pictures_failed", 60)) add("bad", "late", "finding.failed");
  if (late > 2) add(late > 10 ? "bad" : "warn", "late", "finding.late", { value: percent(late) });
  else if (one.link_kind === "webrtc" && one.fps < 20) add(one.fps < 12 ? "bad" : "warn", "fps", "finding.fps", { value: figure(one.fps, 1) });
  if (trends.growth(id, "underruns", 60)) add("warn", "speech", "finding.underruns");
  const { rtt_ms: rtt, loss_percent: loss, jitter_ms: jitter } = one.network;
  if (loss > 3) add(loss > 10 ? "bad" : "warn", "loss", "finding.loss", { value: percent(loss) });
  if (rtt > 300) add("warn", "rtt", "finding.rtt", { value: ms(rtt) });
  else if (jitter > 60) add("warn", "rtt", "finding.jitter", { value: ms(jitter) });
  const waiting = Math.max(one.queues.messages, ...one.sockets.map(({ queued }) => queued));
  if (waiting > 50) add("warn", "waiting", "finding.slow_reader", { count: waiting });
  return found;
}

/** Slow answers, and which part of them is to blame. */
function answers({ turns }) {
  const done = turns.slice(-20).filter(({ marks }) => marks.on_wire !== null);
  const total = median(done.map(({ marks }) => marks.on_wire));
  if (done.length < 3 || total < 1500) return [];
  const slowest = PARTS.map((name) => ({ name, value: median(done.map((turn) => partsOf(turn.marks).find((part) => part.name === name)?.length ?? 0)) }))
    .reduce((most, part) => (part.value > most.value ? part : most));
  const more = { value: ms(total), part: t(`part.${slowest.name}`), share: ms(slowest.value) };
  return [{ level: total > 4000 ? "bad" : "warn", text: t("finding.slow_answers", more) }];
}

function errors({ errors: groups, at }) {
  const recent = groups.filter(({ last_at }) => at - last_at < RECENT_MS);
  if (!recent.length) return [];
  const newest = recent.reduce((last, group) => (group.last_at > last.last_at ? group : last));
  const source = [newest.stage, newest.adapter].filter(Boolean).join(" · ");
  return [{ level: "warn", text: t(recent.length > 1 ? "finding.errors" : "finding.error", { count: recent.length, source, message: newest.message }) }];
}
