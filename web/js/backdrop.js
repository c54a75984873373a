/** Backgrounds as CSS, and by name. */
import { t } from "./i18n.js";

export const TRANSPARENT = "transparent";
const STUDIO = "studio";
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
  return cssOf(background) ? colourName(background) : background.replace(/\.\w+$/, "");
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
