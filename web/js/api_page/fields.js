/** One form control for one parameter or property of a schema. */
import { el } from "../dashboard/dom.js";
import { credential } from "./credentials.js";

let last = 0;

/** Fields that the last /offer fills in as long as the user has not written into them. */
const FILLED = { sessionid: "sessionid", token: "token" };

export class Field {
  node;
  #control;
  #schema;
  #touched = false;

  /** @param {object} field see spec.js; @param {() => void} onChange */
  constructor(field, onChange) {
    const { name, required, schema, description } = field;
    Object.assign(this, { name, required, place: field.place });
    this.#schema = schema;
    this.#control = control(schema, initial(field));
    const id = `field-${++last}`;
    this.#control.id = id;
    this.#control.name = name;
    this.#control.addEventListener("input", () => { this.#touched = true; onChange(); });
    const label = el("label", { for: id }, el("code", {}, name), required ? el("span", { class: "required", "aria-hidden": "true" }, "*") : null);
    if (required) this.#control.setAttribute("aria-required", "true");
    this.node = el("div", { class: `field field-${kindOf(schema)}` }, label, this.#control, description ? el("p", { class: "fine" }, prose(description)) : null);
    this.fill();
  }

  /** Take over the session of the last /offer. */
  fill() {
    const source = FILLED[this.name];
    if (source && !this.#touched && (this.required || credential(source))) this.#control.value = credential(source);
  }

  /** Write a value as a program does; the user may still change it. */
  set(value) {
    this.#control.value = value;
  }

  /** @returns {File | null} of a file chooser */
  get file() {
    return kindOf(this.#schema) === "file" ? (this.#control.files[0] ?? null) : null;
  }

  get isFile() {
    return kindOf(this.#schema) === "file";
  }

  /** What to send: undefined leaves it out. Text that is no valid number or JSON goes out as it is: the server's answer tells. */
  get value() {
    const text = this.#control.value;
    switch (kindOf(this.#schema)) {
      case "boolean":
        return this.#control.checked || this.required || this.#touched ? this.#control.checked : undefined;
      case "integer":
        return text === "" ? undefined : Number.isFinite(Number(text)) ? Number(text) : text;
      case "object":
        return text.trim() === "" ? undefined : parsed(text);
      default:
        return text === "" && !this.required ? undefined : text;
    }
  }
}

function kindOf(schema) {
  if (schema.contentMediaType) return "file";
  if (schema.const !== undefined) return "const";
  if (schema.enum) return "choice";
  return [schema.type].flat()[0] ?? "string";
}

function initial({ name, schema, example, required }) {
  if (name in FILLED) return "";
  if (name === "sdp") return "";
  if (example !== undefined) return example;
  if (schema.default !== undefined) return schema.default;
  return required && schema.enum ? schema.enum[0] : "";
}

function control(schema, start) {
  switch (kindOf(schema)) {
    case "file":
      return el("input", { type: "file", accept: schema.contentMediaType });
    case "const":
      return el("input", { type: "text", value: schema.const, readonly: true });
    case "choice":
      return el("select", {}, schema.enum.map((option) => el("option", { value: option, selected: option === start }, option)));
    case "boolean":
      return el("input", { type: "checkbox", checked: start === true });
    case "integer":
      return el("input", { type: "text", inputmode: "numeric", value: start });
    case "object":
      return el("textarea", { rows: 2, spellcheck: "false", placeholder: "{}" });
    default:
      return schema.maxLength || !["string"].includes(schema.type) ? el("input", { type: "text", value: start, spellcheck: "false", autocomplete: "off" }) : area(start);
  }
}

function area(start) {
  const text = el("textarea", { rows: 1, spellcheck: "false" });
  text.value = start;
  return text;
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return text; }
}

/** A description's text; what stands between backticks is code. */
export function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}
