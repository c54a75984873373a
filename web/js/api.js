/** The server's HTTP interface. Every failure is an ApiError with a code that the language tables know. */

/** `code`: machine-readable word, as in the server's envelope; `detail`: its message for people, may be empty. */
export class ApiError extends Error {
  constructor(code, detail = "") {
    super(detail || code);
    this.name = "ApiError";
    this.code = code;
    this.detail = detail;
  }
}

const BY_STATUS = { 400: "bad_request", 401: "auth_failed", 403: "auth_failed", 404: "bad_request", 413: "too_large", 429: "rate_limited" };

const DEFAULTS = {
  name: "Eman",
  avatar_name: "Eman",
  ice_servers: [],
  asr: { engine: "", languages: ["*"] },
  max_upload_mb: 100,
  max_upload_minutes: 0,
  max_text_chars: 4000,
  history: false,
  control_url: "",
};

/** Paths are relative to the page, so that it also works below a prefix of a proxy. */
export function address(path) {
  return new URL(path, document.baseURI);
}

/** @returns {URL} the WebSocket beside this page */
export function socketAddress() {
  const url = address("./ws");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  url.hash = "";
  return url;
}

/** What the server is and allows; the defaults where it doesn't say (LiveTalking's servers have no such route). */
export async function readConfig() {
  let response;
  try {
    response = await fetch(address("./api/config"), { cache: "no-store" });
  } catch (failure) {
    throw new ApiError("network", String(failure));
  }
  if (response.status === 404) return DEFAULTS;
  const answer = unwrap(await body(response), response.status);
  return { ...DEFAULTS, ...answer.data };
}

/** Whom a session may show, and before what; nothing where the server doesn't say. */
export async function readPresenters() {
  const nothing = { presenters: [], backgrounds: [], background_pictures: {} };
  try {
    const response = await fetch(address("./api/presenters"), { cache: "no-store" });
    return response.ok ? { ...nothing, ...unwrap(await body(response), response.status).data } : nothing;
  } catch {
    return nothing;
  }
}

/** What is where in a presenter's picture of mouths; null for a face that has none. */
export async function readPieces(path) {
  try {
    const response = await fetch(address(path));
    return response.ok ? unwrap(await body(response), response.status).data : null;
  } catch {
    return null;
  }
}

/**
 * Send an offer: of SDP, or of type "websocket".
 * @returns {Promise<{sdp?: string, type: string, sessionid: string, token?: string, avatar?: string, background?: string}>}
 */
export async function sendOffer(offer, signal) {
  const answer = await post("./offer", offer, signal);
  if (offer.sdp && !answer.sdp) throw new ApiError("unknown", answer.msg);
  return { ...answer, sessionid: String(answer.sessionid) };
}

/** Say `text` to the avatar; what it was saying is interrupted. */
export function sendText(credentials, text) {
  return post("./human", { ...credentials, text, type: "chat", interrupt: true });
}

export function interruptTalk(credentials) {
  return post("./interrupt_talk", credentials);
}

/** Free the session at once; with `leave` it may still be taken up again. A beacon, because the page may be going away. */
export function hangUp(content) {
  const message = new Blob([JSON.stringify(content)], { type: "application/json" });
  navigator.sendBeacon?.(address("./api/hangup"), message);
}

/** The newest entries that the server kept of a conversation, oldest first; see docs/http-api.md. */
export async function readHistory(credentials, limit = 200) {
  const { data } = await ask("GET", historyAddress({ ...credentials, limit }));
  return data?.entries ?? [];
}

/** Delete what the server kept of a conversation. One that it does not know is deleted already. */
export async function deleteHistory(credentials) {
  try {
    await ask("DELETE", historyAddress(credentials));
  } catch (failure) {
    if (!["session_not_found", "auth_failed", "bad_request"].includes(failure.code)) throw failure;
  }
}

/** The token goes into a header, so that no log of addresses holds it. */
function historyAddress({ token, ...query }) {
  const url = address("./api/history");
  url.search = new URLSearchParams(query);
  return { url, headers: token ? { Authorization: `Bearer ${token}` } : {} };
}

/**
 * Upload an audio file. XHR, because fetch reports no upload progress.
 * @param {File} file
 * @param {{mode: "ask" | "speak", interrupt: boolean, onProgress: (part: number) => void, signal: AbortSignal}} options
 *        `ask`: it is what the user says; `speak`: the avatar says it
 * @returns {Promise<object>} the answer; with `data.upload_id` for `ask`
 */
export function sendAudio({ sessionid, token }, file, { mode, interrupt, onProgress, signal }) {
  const form = new FormData();
  form.append("sessionid", sessionid);
  // The server reads no file of a stranger: everything else comes before it.
  if (token) form.append("token", token);
  form.append("mode", mode);
  if (interrupt) form.append("interrupt", "true");
  form.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address("./humanaudio"));
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => reject(new ApiError("network"));
    request.onabort = () => reject(new ApiError("aborted"));
    request.onload = () => {
      try {
        resolve(unwrap(parse(request.responseText), request.status));
      } catch (failure) {
        reject(failure);
      }
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

function post(path, content, signal) {
  const headers = { "Content-Type": "application/json" };
  return ask("POST", { url: address(path), headers }, { body: JSON.stringify(content), signal });
}

async function ask(method, { url, headers }, more = {}) {
  let response;
  try {
    response = await fetch(url, { method, headers, cache: "no-store", ...more });
  } catch (failure) {
    throw new ApiError(failure.name === "AbortError" ? "aborted" : "network", String(failure));
  }
  return unwrap(await body(response), response.status);
}

async function body(response) {
  return parse(await response.text());
}

function parse(text) {
  try { return JSON.parse(text); } catch { return null; }
}

/** Check the envelope: an answer with `code` other than 0, or no JSON at all, is an error. */
function unwrap(answer, status) {
  const byStatus = BY_STATUS[status] ?? (status >= 500 ? "internal" : "unknown");
  if (answer === null || typeof answer !== "object") throw new ApiError(byStatus, `HTTP ${status}`);
  if ((answer.code ?? 0) !== 0 || status >= 400) throw new ApiError(answer.error ?? byStatus, String(answer.msg ?? `HTTP ${status}`));
  return answer;
}
