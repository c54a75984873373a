/** Numbers and times as the page's language writes them. Missing values are a dash. */
import { locale } from "./language.js";

export const NONE = "–";

/** @returns {string} `value` with at most `digits` decimals */
export function figure(value, digits = 0) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);
}

/** A clock time with seconds. @param {number} at Unix time in ms */
export function clock(at) {
  return new Intl.DateTimeFormat(locale(), { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(new Date(at));
}
