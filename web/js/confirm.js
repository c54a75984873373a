/** A question before something that can't be taken back. */

export class Confirm {
  #dialog;
  #answer = () => {};

  /** @param {HTMLDialogElement} dialog */
  constructor(dialog) {
    this.#dialog = dialog;
    const [no, yes] = dialog.querySelectorAll("button");
    no.addEventListener("click", () => dialog.close(""));
    yes.addEventListener("click", () => dialog.close("yes"));
    dialog.addEventListener("close", () => this.#answer(dialog.returnValue === "yes"));
  }

  /** @param {{title: string, text: string, yes: string}} words @returns {Promise<boolean>} */
  ask({ title, text, yes }) {
    this.#dialog.returnValue = "";
    this.#dialog.querySelector("h2").textContent = title;
    this.#dialog.querySelector("p").textContent = text;
    this.#dialog.querySelector(".danger-primary").textContent = yes;
    this.#dialog.showModal();
    return new Promise((resolve) => { this.#answer = resolve; });
  }
}
