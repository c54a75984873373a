/** The page's language: tables, the current choice, and filling the marked elements. */
import en from "../i18n/en.js";
import zh from "../i18n/zh.js";
import { writeMarked } from "./marked.js";

const TABLES = { en, zh };
const KEPT = "eman.language";
const values = { avatar: "Eman" };
const listeners = new Set();

let language = first();

function first() {
  const kept = recall();
  if (kept in TABLES) return kept;
  const wanted = (navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((tag) => tag in TABLES) ?? "en";
}

/** Storage may be switched off altogether; the choice then lasts as long as the page. */
function recall() {
  try { return localStorage.getItem(KEPT) ?? ""; } catch { return ""; }
}

function keep(tag) {
  try { localStorage.setItem(KEPT, tag); } catch { /* nothing to do: see recall */ }
}

/** @returns {string} "en" or "zh" */
export function currentLanguage() {
  return language;
}

/** @returns {boolean} whether the current table has this key */
export function has(key) {
  return key in TABLES[language];
}

/** The text for `key`, with {name} replaced from `more` or the page-wide values. */
export function t(key, more = {}) {
  const text = TABLES[language][key] ?? TABLES.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (hole, name) => more[name] ?? values[name] ?? hole);
}

/** Page-wide values such as the avatar's name. */
export function define(more) {
  Object.assign(values, more);
  fill();
}

/** @returns {string} what the avatar is called; also the sender of its chat messages */
export function avatarName() {
  return values.avatar;
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

/** A clock time as the language writes it. */
export function clock(date) {
  return new Intl.DateTimeFormat(locale(), { hour: "2-digit", minute: "2-digit" }).format(date);
}

/** A file's size as the language writes it. */
export function bytes(count) {
  const [value, unit] = count < 1e6 ? [Math.ceil(count / 1e3), "kilobyte"] : [count / 1e6, "megabyte"];
  return new Intl.NumberFormat(locale(), { style: "unit", unit, maximumFractionDigits: 1 }).format(value);
}

/** A day as the language writes it: today and yesterday by their names, the year only when it is another. */
export function day(date, today = new Date()) {
  const midnight = (one) => new Date(one.getFullYear(), one.getMonth(), one.getDate());
  const ago = Math.round((midnight(today) - midnight(date)) / 86_400_000);
  if (ago === 0 || ago === 1) return capital(new Intl.RelativeTimeFormat(locale(), { numeric: "auto" }).format(-ago, "day"));
  const year = date.getFullYear() === today.getFullYear() ? {} : { year: "numeric" };
  return new Intl.DateTimeFormat(locale(), { weekday: "short", day: "numeric", month: "long", ...year }).format(date);
}

function locale() {
  return language === "zh" ? "zh-CN" : "en-GB";
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Names of languages (BCP-47 primary tags) in the current language, joined. */
export function languageNames(tags) {
  const names = new Intl.DisplayNames([language], { type: "language" });
  return new Intl.ListFormat(language, { type: "conjunction" }).format(tags.map((tag) => names.of(tag) ?? tag));
}

/** Write every marked element below `root`: text, accessible name (with tooltip on buttons), placeholder. */
export function fill(root = document) {
  writeMarked(root, language, t);
  for (const listener of listeners) listener();
}
