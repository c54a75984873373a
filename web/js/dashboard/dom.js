/** Building and keeping elements. Data only ever becomes text or an attribute, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/** @returns {HTMLElement} the element with this id */
export function $(id) {
  return document.getElementById(id);
}

/** An element. Functions among the attributes are listeners, null and false leave an attribute out. */
export function el(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

/** A symbol of the page's sprite. */
export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#icon-${name}` }));
}

/** A button with an icon; `label` is its accessible name and tooltip. */
export function iconButton(name, label, onclick) {
  return el("button", { type: "button", class: "tool", "aria-label": label, title: label, onclick }, icon(name));
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else set(node, name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Write an attribute if it changed; null and false remove it. */
export function set(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : value);
}

/** Write a text if it changed, so that what the user has selected stays selected. */
export function put(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/** One node per key below `parent`, in order. Kept nodes are updated in place: focus and open details survive. */
export class Keyed {
  #parent;
  #make;
  #after;
  #views = new Map();

  /**
   * @param {(item: object) => {node: Element, update: (item: object) => void}} make
   * @param {Element | null} after a fixed child that stays in front of them
   */
  constructor(parent, make, after = null) {
    this.#parent = parent;
    this.#make = make;
    this.#after = after;
  }

  /** Show exactly these items. @param {(item: object) => string} keyOf */
  show(items, keyOf) {
    const gone = new Map(this.#views);
    let place = this.#after ? this.#after.nextSibling : this.#parent.firstChild;
    for (const item of items) {
      const key = keyOf(item);
      const view = this.#views.get(key) ?? this.#make(item);
      this.#views.set(key, view);
      gone.delete(key);
      view.update(item);
      if (view.node !== place) this.#parent.insertBefore(view.node, place);
      else place = place.nextSibling;
    }
    for (const [key, view] of gone) {
      view.node.remove();
      this.#views.delete(key);
    }
  }

  /** Forget all nodes; the next `show` makes them anew (in another language). */
  clear() {
    for (const view of this.#views.values()) view.node.remove();
    this.#views.clear();
  }
}
