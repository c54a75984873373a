/** The log that pages before this one kept as a string of HTML: read as text, never shown as HTML. */

const MOST = 500;
const LONGEST = 8000;
const NOISE = "script, style, template, iframe, object, button, time, svg, .time, .timestamp";
/** How those pages named the one who speaks, in classes. */
const MINE = /\b(user|mine|me|self|right|sent|question)\b/i;
/** One message, in which there is nothing to descend into. */
const MESSAGE = /^(.*[-_])?(message|msg|bubble)([-_](user|me|self|assistant|bot|ai|left|right|item|row))?$/i;

/**
 * A parsed document that belongs to no window runs no script and loads no picture.
 * @returns {object[]} entries as in storage.js
 */
export function readOldHistory(html) {
  const { body } = new DOMParser().parseFromString(String(html), "text/html");
  for (const element of body.querySelectorAll(NOISE)) element.remove();
  let list = body;
  while (isWrapper(list)) list = list.firstElementChild;
  return [...list.childNodes].map(entryOf).filter((entry) => entry.text).slice(-MOST);
}

function isWrapper(element) {
  const child = element.firstElementChild;
  if (element.childElementCount !== 1 || child.childElementCount === 0) return false;
  return ![...child.classList].some((name) => MESSAGE.test(name));
}

function entryOf(node) {
  const names = [node, ...(node.querySelectorAll?.("[class]") ?? [])].map((one) => one.className ?? "").join(" ").replace(/[-_]/g, " ");
  const mine = MINE.test(names);
  const text = node.textContent.replace(/\s+/g, " ").trim().slice(0, LONGEST);
  return { id: null, role: mine ? "user" : "avatar", who: "", text, at: null, state: mine ? "final" : "done" };
}
