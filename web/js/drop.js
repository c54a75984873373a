/** Files dropped on the page. Without this the browser would show the file, and the conversation would be gone. */

export class Drop {
  #overlay;
  #ready;

  /** @param {HTMLElement} overlay @param {{ready: () => boolean, onFiles: (files: File[]) => void}} actions */
  constructor(overlay, { ready, onFiles }) {
    this.#overlay = overlay;
    this.#ready = ready;
    window.addEventListener("dragenter", (event) => this.#over(event));
    window.addEventListener("dragover", (event) => this.#over(event));
    window.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget === null && this.#hide());
    window.addEventListener("drop", (event) => {
      this.#hide();
      if (!carriesFiles(event)) return;
      event.preventDefault();
      const files = [...event.dataTransfer.files];
      if (files.length > 0 && ready()) onFiles(files);
    });
  }

  #over(event) {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const ready = this.#ready();
    event.dataTransfer.dropEffect = ready ? "copy" : "none";
    this.#overlay.hidden = !ready;
  }

  #hide() {
    this.#overlay.hidden = true;
  }
}

/** Marked text is dragged, too, and belongs where it is dropped. */
function carriesFiles({ dataTransfer }) {
  return [...(dataTransfer?.types ?? [])].includes("Files");
}
