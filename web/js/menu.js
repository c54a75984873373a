/** A button with a panel of further things below it. */

export class Menu {
  #button;
  #panel;

  constructor(button, panel) {
    this.#button = button;
    this.#panel = panel;
    button.addEventListener("click", () => this.#show(panel.hidden));
    panel.addEventListener("click", ({ target }) => target.closest("button") && this.#show(false));
    for (const element of [button, panel]) element.addEventListener("keydown", (event) => this.#key(event));
    panel.addEventListener("focusout", ({ relatedTarget }) => relatedTarget && !this.#within(relatedTarget) && this.#show(false));
    document.addEventListener("pointerdown", ({ target }) => !this.#within(target) && this.#show(false));
  }

  #within(element) {
    return this.#panel.contains(element) || this.#button.contains(element);
  }

  #key(event) {
    if (event.key !== "Escape" || this.#panel.hidden) return;
    // Elsewhere Escape interrupts the avatar.
    event.stopPropagation();
    this.#show(false);
    this.#button.focus();
  }

  #show(open) {
    this.#panel.hidden = !open;
    this.#button.setAttribute("aria-expanded", String(open));
    if (open) this.#panel.querySelector("button:not(:disabled, [hidden]), input")?.focus();
  }
}
