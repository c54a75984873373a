/** What an operator can do. Each call resolves to the server's envelope; it never rejects. */
import { adminToken } from "./token.js";

/** @returns {Promise<{ok: boolean, status: number, msg: string, data?: object}>} */
async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (adminToken()) headers.Authorization = `Bearer ${adminToken()}`;
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    return { ok: false, status: 0, msg: "" };
  }
  let answer = null;
  try { answer = await response.json(); } catch { /* a proxy's page: told by its status */ }
  const ok = response.ok && answer?.code === 0;
  return { ok, status: response.status, msg: String(answer?.msg ?? `HTTP ${response.status}`), data: answer?.data };
}

export function stopSession(sessionid) {
  return post("./api/admin/stop", { sessionid });
}

/** What lets a page join a device's conversation: `data` is {sessionid, token}. */
export function watchSession(sessionid) {
  return post("./api/admin/watch", { sessionid });
}

/** @param {{text: string, type: "echo" | "chat", interrupt: boolean}} what */
export function say(sessionid, what) {
  return post("./api/admin/say", { sessionid, ...what });
}

/** Show `text` on the pages of a session, or on all pages without an id. */
export function showMessage(text, sessionid) {
  return post("./api/admin/message", sessionid ? { sessionid, text } : { text });
}

export function setLogLevel(level) {
  return post("./api/admin/log_level", { level });
}
