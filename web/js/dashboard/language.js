/** The page's language: the tables it was given, the current choice (kept with the chat page's), filling marked elements. */
import { writeMarked } from "../marked.js";

const KEPT = "eman.language";
const listeners = new Set();

let tables = {};
let language = "en";

/** @param {{en: object, zh: object}} given tables of texts by key */
export function useTables(given) {
  tables = given;
  const kept = recall();
  const wanted = [kept, ...(navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2).toLowerCase())];
  language = wanted.find((tag) => tag in tables) ?? "en";
}

/** Storage may be switched off altogether; the choice then lasts as long as the page. */
function recall() {
  try { return localStorage.getItem(KEPT) ?? ""; } catch { return ""; }
}

function keep(tag) {
  try { localStorage.setItem(KEPT, tag); } catch { /* nothing to do: see recall */ }
}

/** @returns {boolean} whether there is a text for this key */
export function has(key) {
  return key in tables[language];
}

/** The text for `key`, with {name} replaced from `more`. */
export function t(key, more = {}) {
  const text = tables[language][key] ?? tables.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (hole, name) => more[name] ?? hole);
}

/** The text for a word from the server, or the word itself where the tables don't know it. */
export function word(group, value) {
  return has(`${group}.${value}`) ? t(`${group}.${value}`) : String(value);
}

/** Call `listener` whenever texts have to be written anew. */
export function onLanguage(listener) {
  listeners.add(listener);
}

export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  keep(language);
  fill();
}

/** @returns {string} the tag that Intl wants */
export function locale() {
  return language === "zh" ? "zh-CN" : "en-GB";
}

/** Write every marked element: text, accessible name (with tooltip on buttons), placeholder. */
export function fill() {
  writeMarked(document, language, t);
  for (const listener of listeners) listener();
}
