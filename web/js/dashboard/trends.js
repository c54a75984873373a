/** The last minutes, made from snapshots: what the server tells is only the present. */

const KEEP = 300;
const SESSION_KEEP = 120;

export class Trends {
  #server = [];
  #sessions = new Map();

  /** Take in a snapshot (one per second). */
  record(snapshot) {
    push(this.#server, { ...snapshot.server, at: snapshot.at, fps: meanFps(snapshot.sessions) }, KEEP);
    const seen = new Set();
    for (const session of snapshot.sessions) {
      seen.add(session.sessionid);
      const past = this.#sessions.get(session.sessionid) ?? [];
      this.#sessions.set(session.sessionid, past);
      push(past, { ...session, at: snapshot.at }, SESSION_KEEP);
    }
    for (const id of this.#sessions.keys()) if (!seen.has(id)) this.#sessions.delete(id);
  }

  /** The server's values under `key`, oldest first. */
  server(key) {
    return this.#server.map((past) => past[key] ?? null);
  }

  /** One session's values. @param {(session: object) => number | null} read */
  session(id, read) {
    return (this.#sessions.get(id) ?? []).map((past) => read(past) ?? null);
  }

  /** How much a session's counter grew within the last `seconds`. */
  growth(id, key, seconds) {
    const past = this.#sessions.get(id) ?? [];
    if (past.length < 2) return 0;
    const last = past.at(-1);
    const first = past.find(({ at }) => at >= last.at - seconds * 1000);
    return Math.max(0, last[key] - first[key]);
  }

  /** Share of pictures that came too late within the last ten seconds, in percent. */
  lateShare(id) {
    const skipped = this.growth(id, "pictures_skipped", 10);
    const sent = this.growth(id, "pictures_sent", 10);
    return skipped + sent ? (100 * skipped) / (skipped + sent) : 0;
  }
}

/** Pictures per second over the sessions that are sent some; null without any. */
export function meanFps(sessions) {
  const rates = sessions.filter((one) => one.link === "connected" && one.link_kind === "webrtc").map(({ fps }) => fps);
  return rates.length ? rates.reduce((sum, rate) => sum + rate, 0) / rates.length : null;
}

function push(list, item, limit) {
  list.push(item);
  if (list.length > limit) list.shift();
}
