/** The question what is to happen with a file. The last answer is the one that Enter gives again. */
import { bytes, t } from "./i18n.js";

const KEPT = "eman.upload";

export class UploadChoice {
  #dialog;
  #buttons;
  #answer = () => {};

  /** @param {HTMLDialogElement} dialog its buttons' values are the answers, "" is none */
  constructor(dialog) {
    this.#dialog = dialog;
    this.#buttons = [...dialog.querySelectorAll("button")];
    for (const button of this.#buttons) button.addEventListener("click", () => dialog.close(button.value));
    dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close(""));
    dialog.addEventListener("close", () => this.#closed(dialog.returnValue));
    dialog.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {File[]} files @returns {Promise<"ask" | "speak" | "">} */
  ask(files) {
    if (this.#dialog.open) return Promise.resolve("");
    this.#dialog.returnValue = "";
    this.#dialog.querySelector("p").textContent = described(files);
    const last = recall();
    for (const button of this.#buttons) button.dataset.last = String(button.value === last);
    this.#dialog.showModal();
    this.#buttons.find((button) => button.value === last)?.focus();
    return new Promise((resolve) => { this.#answer = resolve; });
  }

  /** Nothing is to be chosen any more. */
  dismiss() {
    if (this.#dialog.open) this.#dialog.close("");
  }

  #closed(answer) {
    if (answer) keep(answer);
    this.#answer(answer);
    this.#answer = () => {};
  }

  /** The arrow keys go from one choice to the next. */
  #key(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const place = this.#buttons.indexOf(document.activeElement) + step;
    this.#buttons.at(place % this.#buttons.length).focus();
  }
}

function described(files) {
  const size = bytes(files.reduce((sum, file) => sum + file.size, 0));
  return files.length === 1
    ? t("upload.choice.file", { name: files[0].name, size })
    : t("upload.choice.files", { count: files.length, size });
}

/** Storage may be switched off altogether; then every page begins with the first choice. */
function recall() {
  try { return localStorage.getItem(KEPT) ?? "ask"; } catch { return "ask"; }
}

function keep(answer) {
  try { localStorage.setItem(KEPT, answer); } catch { /* nothing to do: see recall */ }
}
