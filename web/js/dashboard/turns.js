/** The last answers as a waterfall: what each user waited for, and the median. */
import { Axis, niceCeiling, StackedBar } from "./charts.js";
import { $, el, Keyed, put, set } from "./dom.js";
import { clock } from "./format.js";
import { t, word } from "./language.js";
import { lastMark, PARTS, partsOf } from "./turns_math.js";
import { median, ms, shortId } from "./units.js";

const SHORT = 10;

export class Turns {
  #rows = new Keyed($("turn-rows"), () => this.#make());
  #axis = new Axis();
  #median = this.#make();
  #all = false;
  #scale = 1;
  #last = null;

  constructor() {
    this.#median.node.classList.add("median");
    $("turn-median").append(this.#median.node);
    $("turn-axis").append(this.#axis.node);
    $("turns-more").addEventListener("click", () => { this.#all = !this.#all; this.show(this.#last); });
    this.relabel();
  }

  show(snapshot) {
    if (!snapshot) return;
    this.#last = snapshot;
    const turns = [...snapshot.turns].reverse();
    const shown = this.#all ? turns : turns.slice(0, SHORT);
    $("turns-empty").hidden = turns.length > 0;
    $("turns-body").hidden = $("turns-legend").hidden = turns.length === 0;
    $("turns-more").hidden = turns.length <= SHORT;
    put($("turns-more"), this.#all ? t("turns.fewer") : t("turns.all", { count: turns.length }));
    const middle = { marks: medianMarks(turns), isMedian: true, count: turns.length };
    this.#scale = niceCeiling(Math.max(100, ...[middle, ...shown].map(({ marks }) => lastMark(marks) ?? 0)));
    this.#median.update(middle);
    this.#rows.show(shown, ({ sessionid, reply_id: reply, at }) => `${sessionid} ${reply} ${at}`);
    this.#axis.update(this.#scale, ms);
  }

  relabel() {
    this.#rows.clear();
    const swatches = PARTS.map((name) => el("li", {}, el("i", { class: "swatch", "data-part": name }), t(`part.${name}`)));
    $("turns-legend").replaceChildren(...swatches);
  }

  #make() {
    const when = el("span", { class: "turn-when" });
    const what = el("span", { class: "turn-what" });
    const bar = new StackedBar();
    const total = el("b", { class: "turn-total" });
    const values = el("span", { class: "turn-values", "aria-hidden": "true" });
    const node = el("li", { class: "turn", tabindex: "0" }, when, what, el("div", { class: "turn-bar" }, bar.node, values), total);
    return {
      node,
      update: (turn) => {
        const parts = partsOf(turn.marks);
        put(when, turn.isMedian ? t("turns.median") : clock(turn.at));
        put(what, turn.isMedian ? t("turns.of", { count: turn.count }) : about(turn));
        bar.update(parts, this.#scale);
        put(total, ms(parts.at(-1)?.to ?? null));
        put(values, parts.map(({ name, length }) => `${t(`part.${name}`)} ${ms(length)}`).join("  ·  ") || t("turns.nothing"));
        set(node, "data-outcome", turn.outcome);
        set(node, "aria-label", [when.textContent, what.textContent, total.textContent, values.textContent].join(", "));
      },
    };
  }
}

function about({ sessionid, source, engine, outcome }) {
  const ended = outcome === "end" ? "" : word("outcome", outcome);
  return [shortId(sessionid), word("source", source), engine, ended].filter(Boolean).join(" · ");
}

/** Each mark's own median over the turns that reached it. */
function medianMarks(turns) {
  return Object.fromEntries(PARTS.map((name) => [name, median(turns.map(({ marks }) => marks[name]))]));
}
