/** A request as it goes out, and as text: raw, and as a curl command. */
import { credential } from "./credentials.js";

const HEADERS = { apiKey: "X-API-Key", adminToken: "X-Admin-Token" };

/**
 * @param {import("./spec.js").Operation} operation
 * @param {import("./fields.js").Field[]} fields
 * @returns {{method: string, url: URL, headers: object, body: string | FormData | undefined, parts: [string, string | File][]}}
 */
export function build(operation, fields) {
  const filled = operation.path.replace(/\{(\w+)\}/g, (hole, name) => {
    const value = fields.find((field) => field.place === "path" && field.name === name)?.value;
    return value === undefined ? hole : encodeURIComponent(value);
  });
  const url = new URL(`.${filled}`, document.baseURI);
  for (const { name, place, value } of fields) if (place === "query" && value !== undefined) url.searchParams.set(name, value);
  const request = { method: operation.method, url, headers: keys(operation), body: undefined, parts: [] };
  const inside = fields.filter(({ place }) => place === "body");
  if (operation.kind === "multipart/form-data") {
    request.parts = inside.map((field) => [field.name, field.isFile ? field.file : field.value]).filter(([, value]) => value !== undefined && value !== null);
    request.body = new FormData();
    for (const [name, value] of request.parts) request.body.append(name, value);
  } else if (operation.kind) {
    request.headers["Content-Type"] = operation.kind;
    request.body = JSON.stringify(Object.fromEntries(inside.map(({ name, value }) => [name, value]).filter(([, value]) => value !== undefined)), null, 2);
  }
  return request;
}

/** The keys that the user gave and that this operation takes. */
function keys({ security }) {
  const headers = {};
  for (const [name, header] of Object.entries(HEADERS)) {
    if (security.includes(name) && credential(name)) headers[header] = credential(name);
  }
  return headers;
}

/** What goes over the wire, in words of HTTP. */
export function raw({ method, url, headers, body, parts }) {
  const lines = [`${method} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`, ...Object.entries(headers).map((pair) => pair.join(": "))];
  if (body instanceof FormData) {
    const shown = parts.map(([name, value]) => (value instanceof File ? `${name}: <${value.name}, ${value.size} bytes>` : `${name}: ${value}`));
    return [...lines, "Content-Type: multipart/form-data", "", ...shown].join("\n");
  }
  return [...lines, ...(body === undefined ? [] : ["", body])].join("\n");
}

/** The same for a shell. */
export function curl({ method, url, headers, body, parts }) {
  const words = ["curl"];
  if (method !== (body === undefined ? "GET" : "POST")) words.push("-X", method);
  words.push(quoted(url.href));
  for (const pair of Object.entries(headers)) words.push("-H", quoted(pair.join(": ")));
  if (body instanceof FormData) {
    for (const [name, value] of parts) words.push("-F", quoted(value instanceof File ? `${name}=@${value.name}` : `${name}=${value}`));
  } else if (body !== undefined) {
    words.push("--data-raw", quoted(JSON.stringify(JSON.parse(body))));
  }
  return words.join(" ");
}

/** One word for a POSIX shell. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
