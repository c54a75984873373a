/** Figures with their units, ids, and the middle of many. */
import { figure, NONE } from "./format.js";
import { t } from "./language.js";

/** Milliseconds: as seconds from 1 s on. */
export function ms(value) {
  if (value === null || value === undefined) return NONE;
  return value >= 1000 ? t("unit.s", { value: figure(value / 1000, 2) }) : t("unit.ms", { value: figure(value, value < 10 ? 1 : 0) });
}

export function percent(value) {
  return value === null || value === undefined ? NONE : t("unit.percent", { value: figure(value, value < 10 ? 1 : 0) });
}

/** How long something lasts: the two largest units. @param {number} seconds */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  const whole = Math.max(0, Math.floor(seconds));
  const [d, h, m, s] = [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  if (d) return t("span.days", { d, h });
  if (h) return t("span.hours", { h, m });
  if (m) return t("span.minutes", { m, s });
  return t("span.seconds", { s });
}

/** Ids are long; their end tells them apart. */
export function shortId(id) {
  const text = String(id ?? "");
  return text.length > 8 ? `…${text.slice(-6)}` : text || NONE;
}

/** The middle value, null of nothing. */
export function median(values) {
  const sorted = values.filter((value) => value !== null && value !== undefined).sort((a, b) => a - b);
  if (!sorted.length) return null;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
