/** Small charts in SVG: a line over time, and stacked bars on a common scale. */
import { el, set, svg } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 32;
const MARGIN = 2;

/** A line of the last values with the area below it. Gaps (null) break the line. */
export class Sparkline {
  node;
  #line = svg("path", { class: "spark-line" });
  #area = svg("path", { class: "spark-area" });
  #points;

  /** @param {number} points the most values that are shown; a fifth of them fills the width while there are few */
  constructor(points) {
    this.#points = points;
    this.node = svg(
      "svg",
      { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      this.#area,
      this.#line,
    );
  }

  /**
   * @param {(number | null)[]} values oldest first
   * @param {{floor?: number, ceiling?: number, label: string}} how the scale reaches at least from `floor` to `ceiling`
   */
  update(values, { floor = 0, ceiling = 1, label }) {
    const shown = values.slice(-this.#points);
    const known = shown.filter((value) => value !== null && value !== undefined);
    const low = Math.min(floor, ...known);
    const high = Math.max(ceiling, ...known);
    const step = WIDTH / (Math.max(shown.length, Math.ceil(this.#points / 5)) - 1);
    const x = (index) => WIDTH - (shown.length - 1 - index) * step;
    const y = (value) => HEIGHT - MARGIN - ((value - low) / (high - low || 1)) * (HEIGHT - 2 * MARGIN);
    const runs = runsOf(shown).map((run) => run.map((index) => [x(index).toFixed(1), y(shown[index]).toFixed(1)]));
    set(this.#line, "d", runs.map(lineOf).join(""));
    set(this.#area, "d", runs.map(areaOf).join(""));
    set(this.node, "aria-label", label);
  }
}

/** Indexes of neighbouring values that are there. */
function runsOf(values) {
  const runs = [];
  let run = null;
  values.forEach((value, index) => {
    if (value === null || value === undefined) run = null;
    else if (run) run.push(index);
    else runs.push(run = [index]);
  });
  return runs;
}

function lineOf(points) {
  const [first, ...rest] = points;
  return `M${first.join(" ")}${rest.map((point) => `L${point.join(" ")}`).join("")}${rest.length ? "" : "h.1"}`;
}

function areaOf(points) {
  return `${lineOf(points)}L${points.at(-1)[0]} ${HEIGHT}L${points[0][0]} ${HEIGHT}Z`;
}

/** One horizontal bar of parts that follow each other. */
export class StackedBar {
  node = svg("svg", { class: "stack", "aria-hidden": "true" });
  #parts = new Map();

  /**
   * @param {{name: string, from: number, to: number}[]} parts in the unit of the scale
   * @param {number} scale what the full width stands for
   */
  update(parts, scale) {
    const gone = new Set(this.#parts.keys());
    for (const { name, from, to } of parts) {
      gone.delete(name);
      const rect = this.#parts.get(name) ?? this.#add(name);
      set(rect, "x", `${(100 * from) / scale}%`);
      set(rect, "width", `${Math.max(0.25, (100 * (to - from)) / scale)}%`);
    }
    for (const name of gone) {
      this.#parts.get(name).remove();
      this.#parts.delete(name);
    }
  }

  #add(name) {
    const rect = svg("rect", { class: "part", "data-part": name, y: "0", height: "100%" });
    this.#parts.set(name, rect);
    this.node.append(rect);
    return rect;
  }
}

/** The labels below bars on a common scale. */
export class Axis {
  node = el("div", { class: "axis", "aria-hidden": "true" });

  /** @param {(value: number) => string} write */
  update(scale, write) {
    const labels = [0, 0.25, 0.5, 0.75, 1].map((share) => el("span", {}, write(scale * share)));
    this.node.replaceChildren(...labels);
  }
}

/** The smallest "round" number (1, 2, 4, 8 × 10ⁿ) that is not below `value`; quarters of it are round as well. */
export function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 4, 8, 10].map((step) => step * power).find((step) => step >= value);
}
