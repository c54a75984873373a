/** Who the requests are from: the last /offer's session, and keys that the user gives. They last as long as the page. */

const NAMES = ["sessionid", "token", "apiKey", "adminToken"];
const values = Object.fromEntries(NAMES.map((name) => [name, ""]));
const listeners = new Set();

/** @param {"sessionid" | "token" | "apiKey" | "adminToken"} name */
export function credential(name) {
  return values[name];
}

/** Take over what is given and tell everybody who fills it in. */
export function setCredentials(given) {
  for (const name of NAMES) if (name in given) values[name] = String(given[name] ?? "");
  for (const listener of listeners) listener();
}

/** Call `listener` on each change. */
export function onCredentials(listener) {
  listeners.add(listener);
}
