/** A ticket is what lets a page take part in a conversation: {sessionid, token}. Where one comes from and where it is kept. */

const KEPT = "eman.ticket";
/** A page that was away for longer than this begins anew: nobody expects a call from an hour ago to go on by itself. */
const RELOAD_MS = 60_000;

/** The ticket of a link's fragment, which is taken out of the address bar; null when there is none. */
export function ticketOfLink() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const sessionid = fields.get("session") ?? "";
  if (!sessionid) return null;
  history.replaceState(history.state, "", location.pathname + location.search);
  const token = fields.get("token") ?? "";
  return token ? { sessionid, token } : { sessionid };
}

/** The token of an access link's fragment, which lets a visitor begin; null when there is none. It stays for a reload. */
export function invitation() {
  const fields = new URLSearchParams(location.hash.slice(1));
  return fields.has("session") ? null : fields.get("token");
}

/** A link that lets another window join. A fragment never reaches a server, so the token stays out of its logs. */
export function linkOf({ sessionid, token = "" }) {
  const url = new URL(location.pathname, location.origin);
  url.hash = new URLSearchParams(token ? { session: sessionid, token } : { session: sessionid });
  return url.href;
}

/** Keep a ticket in this tab over a reload. `more`: what else the reloaded page wants to know. */
export function keepTicket(ticket, more = {}) {
  try { sessionStorage.setItem(KEPT, JSON.stringify({ ...ticket, ...more, at: Date.now() })); } catch { /* then a reload begins anew */ }
}

export function dropTicket() {
  try { sessionStorage.removeItem(KEPT); } catch { /* nothing was kept */ }
}

/** What this tab kept before a reload; null when there is nothing or it is too old. */
export function keptTicket() {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null"); } catch { return null; }
  const fresh = typeof kept?.sessionid === "string" && Math.abs(Date.now() - kept.at) < RELOAD_MS;
  return fresh ? kept : null;
}

/** A name of this page for the server. (randomUUID exists only on secure pages.) */
export function newPageId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
