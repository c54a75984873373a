/** Presenters as faces to choose from, and backgrounds as swatches. Two groups of radio buttons, so that keys just work. */
import { address } from "./api.js";
import { cssOf, isDrawn, nameOf } from "./backdrop.js";
import { has, onLanguage, t } from "./i18n.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");
let count = 0;

export class Picker {
  #root;
  #look;
  #number = ++count;

  /**
   * @param {HTMLElement} root gets the groups; hidden while there is nothing to choose
   * @param {import("./look.js").Look} look
   */
  constructor(root, look) {
    this.#root = root;
    this.#look = look;
    look.addEventListener("offered", () => this.#build());
    look.addEventListener("changed", () => this.#mark());
    onLanguage(() => this.#name());
  }

  #build() {
    const { presenters, backgrounds } = this.#look;
    this.#root.hidden = presenters.length === 0;
    const faces = group("faces", presenters.map((one) => this.#face(one)));
    const swatches = group("swatches", backgrounds.map((one) => this.#swatch(one)));
    faces.hidden = presenters.length < 2;
    swatches.hidden = backgrounds.length < 2;
    this.#root.replaceChildren(faces, swatches);
    this.#name();
    this.#mark();
  }

  #face(presenter) {
    const card = this.#choice("face", "avatar", presenter.name);
    const frame = element("span", "face-frame");
    const picture = element("img", "face-still");
    picture.src = address(presenter.picture);
    picture.alt = "";
    picture.loading = "lazy";
    frame.append(picture);
    card.append(frame, element("span", "face-name", presenter.title), element("small", "face-about"));
    const stop = () => frame.querySelector(".face-moving")?.remove();
    for (const event of ["pointerenter", "focusin", "change"]) card.addEventListener(event, () => move(frame, presenter));
    card.addEventListener("pointerleave", stop);
    card.addEventListener("focusout", stop);
    return card;
  }

  #swatch(background) {
    const swatch = this.#choice("swatch", "background", background);
    const patch = element("span", "patch");
    const css = cssOf(background);
    const thumbnail = this.#look.thumbnails[background];
    if (css) patch.style.setProperty("--patch", css);
    else patch.dataset.kind = isDrawn(background) ? background : "picture";
    if (thumbnail) patch.style.setProperty("--patch", `url("${address(thumbnail)}")`);
    swatch.append(patch, element("span", "swatch-name"));
    return swatch;
  }

  #choice(kind, part, value) {
    const label = element("label", kind);
    const input = element("input", "unseen");
    input.type = "radio";
    input.name = `${part}-${this.#number}`;
    input.dataset.part = part;
    input.value = value;
    input.addEventListener("change", () => input.checked && this.#look.choose({ [part]: value }));
    label.append(input);
    return label;
  }

  /** Everything that has words. */
  #name() {
    const [faces, swatches] = this.#root.children;
    if (!faces) return;
    faces.querySelector("legend").textContent = t("look.presenter");
    swatches.querySelector("legend").textContent = t("look.background");
    for (const card of faces.querySelectorAll(".face")) {
      const { name, about } = this.#look.presenters.find((one) => one.name === card.querySelector("input").value);
      card.querySelector("small").textContent = has(`look.about.${name}`) ? t(`look.about.${name}`) : about;
    }
    for (const swatch of swatches.querySelectorAll(".swatch")) {
      const name = nameOf(swatch.querySelector("input").value);
      swatch.querySelector(".swatch-name").textContent = name;
      swatch.title = name;
    }
  }

  #mark() {
    const { current } = this.#look;
    for (const input of this.#root.querySelectorAll("input")) {
      input.checked = current[input.dataset.part] === input.value;
      if (input.checked) reveal(input.parentElement);
    }
    const studio = this.#root.querySelector('.patch[data-kind="studio"]');
    if (studio && this.#look.presenter) studio.style.setProperty("--patch", `url("${address(this.#look.presenter.picture)}")`);
  }
}

/** Scroll a group of many to one choice, and nothing around the group. */
function reveal(choice) {
  const group = choice.parentElement;
  const [box, one] = [group, choice].map((part) => part.getBoundingClientRect());
  group.scrollLeft += Math.min(0, one.left - box.left) + Math.max(0, one.right - box.right);
  group.scrollTop += Math.min(0, one.top - box.top) + Math.max(0, one.bottom - box.bottom);
}

/** The face moves while one looks at it. */
function move(frame, presenter) {
  if (still.matches || frame.querySelector(".face-moving")) return;
  const moving = element("img", "face-moving");
  moving.alt = "";
  moving.dataset.ready = "false";
  moving.onload = () => { moving.dataset.ready = "true"; };
  moving.src = address(presenter.preview);
  frame.append(moving);
}

function group(name, choices) {
  const fieldset = element("fieldset", name);
  fieldset.append(element("legend", "unseen"), ...choices);
  return fieldset;
}

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  if (text) made.textContent = text;
  return made;
}
