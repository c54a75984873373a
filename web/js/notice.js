/** Short messages above the page. */
import { t } from "./i18n.js";

const STAY_MS = 7000;
const LIMIT = 3;

export class Notices {
  #region;

  constructor(region) {
    this.#region = region;
  }

  /**
   * Show a notice; one with the same code is replaced. Only "info" goes away by itself.
   * @param {{code: string, kind?: "info" | "warning" | "error", title: string, text?: string, action?: {label: string, run: Function}}} notice
   */
  show({ code, kind = "info", title, text = "", action = null }) {
    this.dismiss(code);
    while (this.#region.childElementCount >= LIMIT) this.#region.firstElementChild.remove();
    const element = document.createElement("div");
    element.className = "notice";
    element.dataset.kind = kind;
    element.dataset.code = code;
    const dot = document.createElement("i");
    dot.className = "dot";
    element.append(dot, bodyOf(title, text, action && this.#button(code, action)), this.#close(code));
    this.#region.append(element);
    if (kind === "info") setTimeout(() => element.remove(), STAY_MS);
  }

  dismiss(code) {
    this.#region.querySelector(`[data-code="${CSS.escape(code)}"]`)?.remove();
  }

  #button(code, { label, run }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "notice-action";
    button.textContent = label;
    button.addEventListener("click", () => { this.dismiss(code); run(); });
    return button;
  }

  #close(code) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.setAttribute("aria-label", t("notice.close"));
    button.title = t("notice.close");
    button.append(icon("close"));
    button.addEventListener("click", () => this.dismiss(code));
    return button;
  }
}

function bodyOf(title, text, button) {
  const body = document.createElement("div");
  body.className = "notice-body";
  const strong = document.createElement("strong");
  strong.textContent = title;
  body.append(strong);
  if (text) {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    body.append(paragraph);
  }
  if (button) body.append(button);
  return body;
}

function icon(name) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  drawing.append(use);
  return drawing;
}
