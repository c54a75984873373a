/** Questions before an action, and what came of it. */
import { $, el } from "./dom.js";
import { t } from "./language.js";

const TOAST_MS = 6000;

/**
 * Ask before acting.
 * @param {{title: string, text: string, action: string, danger?: boolean, field?: string, choices?: boolean}} what
 *   `field`: label of a text to write; `choices`: how the text is spoken
 * @returns {Promise<{text: string, type: string, interrupt: boolean} | null>} null when nothing is to be done
 */
export function ask({ title, text, action, danger = false, field = "", choices = false }) {
  const dialog = $("dialog");
  $("dialog-form").reset();
  $("dialog-title").textContent = title;
  $("dialog-text").textContent = text;
  $("dialog-action").textContent = action;
  $("dialog-action").dataset.danger = String(danger);
  $("dialog-field").hidden = !field;
  $("dialog-field-label").textContent = field;
  $("dialog-input").required = Boolean(field);
  $("dialog-choices").hidden = !choices;
  dialog.returnValue = "";
  dialog.showModal();
  (field ? $("dialog-input") : $("dialog-cancel")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const form = new FormData($("dialog-form"));
      const answer = { text: $("dialog-input").value.trim(), type: form.get("type"), interrupt: $("dialog-interrupt").checked };
      resolve(dialog.returnValue === "act" && (!field || answer.text) ? answer : null);
    }, { once: true });
  });
}

/** Wire the dialog's own keys: Ctrl+Enter acts, Escape (native) and a click beside it do nothing. */
export function prepareDialog() {
  const dialog = $("dialog");
  $("dialog-cancel").addEventListener("click", () => dialog.close(""));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(""); });
  $("dialog-form").addEventListener("submit", (event) => { event.preventDefault(); dialog.close("act"); });
  $("dialog-form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("dialog-form").requestSubmit();
  });
}

/** Say what came of an action, for a few seconds. */
export function toast(text, kind = "info") {
  const note = el("p", { class: "toast", "data-kind": kind }, text);
  $("toasts").append(note);
  setTimeout(() => note.remove(), TOAST_MS);
}

/** Say what the server answered. @param {(data: object | undefined) => string} done the words for a success */
export function tell(answer, done) {
  if (answer.ok) toast(done(answer.data));
  else if (answer.status === 0) toast(t("answer.network"), "error");
  else toast(t("answer.failed", { message: answer.msg }), "error");
}
