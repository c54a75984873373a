/** Backgrounds as CSS, and by name. */
import { t } from "./i18n.js";

export const TRANSPARENT = "transparent";
export const STUDIO = "studio";
/** Where hues (degrees) end, and their names. */
const HUES = [[15, "red"], [42, "orange"], [68, "yellow"], [155, "green"], [195, "teal"], [255, "blue"], [290, "violet"], [345, "pink"], [361, "red"]];

/** @returns {string} CSS of a colour or a gradient; "" for anything that only the server can draw */
export function cssOf(background) {
  const [first, second = first] = background.split("-");
  return /^#[0-9a-f]{6}$/i.test(first) ? `linear-gradient(${first}, ${second})` : "";
}

/** What a background is called. A picture goes by its file name. */
export function nameOf(background) {
  if (background === STUDIO) return t("look.studio");
  if (background === TRANSPARENT) return t("look.transparent");
  return cssOf(background) ? colourName(background) : titleOf(background.replace(/\.\w+$/, "")) || background;
}

/** With blanks where a file name has "_" and "-" instead; a date keeps its hyphens, and so does what has blanks. */
function titleOf(name) {
  const words = (/\s/.test(name) ? name : name.replace(/(\d-+(?=\d))|[_-]+/g, (found, date) => date ?? " ")).trim();
  const [first = ""] = words;
  return first.toLocaleUpperCase() + words.slice(first.length);
}

/** @returns {boolean} whether a background needs no picture that the server may not have */
export function isDrawn(background) {
  return background === STUDIO || background === TRANSPARENT || cssOf(background) !== "";
}

/**
 * Pictures of who is to be shown, best first: cut out where the page itself draws what is behind.
 * @param {import("./look.js").Look} look
 */
export function stillsOf({ presenter, current: { background }, backgrounds }) {
  if (!presenter) return ["./poster.png"];
  if (cssOf(background) || background === TRANSPARENT) return [presenter.cutout, presenter.portrait];
  if (!backgrounds.includes(background)) return [presenter.portrait];
  return [`${presenter.portrait}?${new URLSearchParams({ background })}`, presenter.portrait];
}

function colourName(background) {
  const parts = background.split("-").map((part) => [1, 3, 5].map((at) => parseInt(part.slice(at, at + 2), 16)));
  const [red, green, blue] = [0, 1, 2].map((at) => parts.reduce((sum, part) => sum + part[at], 0) / parts.length / 255);
  const [most, least] = [Math.max(red, green, blue), Math.min(red, green, blue)];
  const light = (most + least) / 2;
  const colour = most - least < 0.04 ? "grey" : hueName(red, green, blue, most, most - least);
  if (light > 0.62) return t("look.light", { colour: t(`look.colour.${colour}`) });
  if (light < 0.3) return t("look.dark", { colour: t(`look.colour.${colour}`) });
  const name = t(`look.colour.${colour}`);
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** By the hexagon of hues (HSL). */
function hueName(red, green, blue, most, range) {
  const sector = most === red ? ((green - blue) / range + 6) % 6 : most === green ? (blue - red) / range + 2 : (red - green) / range + 4;
  return HUES.find(([end]) => sector * 60 < end)[1];
}
