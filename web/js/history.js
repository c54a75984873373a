/** What the server kept of a conversation, and how it fits to what is shown. */
import { readHistory } from "./api.js";
import { avatarName } from "./i18n.js";

const bare = (text) => text.replace(/\s+/g, "");
const same = (one, other) => one.role === other.role && bare(one.text) === bare(other.text);

/** @returns {Promise<object[]>} entries as in storage.js, oldest first */
export async function keptByServer(credentials) {
  const entries = await readHistory(credentials);
  return entries.filter(({ text }) => String(text ?? "").trim()).map(({ id, role, text, at_ms: at, state }) => {
    const mine = role === "user";
    const done = state === "interrupted" ? state : "done";
    return { id: `h${id}`, role: mine ? "user" : "avatar", who: mine ? "" : avatarName(), text, at, state: mine ? "final" : done };
  });
}

/**
 * Which of the shown messages each kept one is, by the longest common subsequence of role and text: both lists may lack
 * what the other has, and the same words may be said twice.
 * @param {{role: string, text: string}[]} shown
 * @param {{role: string, text: string}[]} kept
 * @returns {number[]} for each of `kept` an index of `shown`, or -1
 */
export function align(shown, kept) {
  const longest = Array.from({ length: kept.length + 1 }, () => new Uint16Array(shown.length + 1));
  for (let k = kept.length - 1; k >= 0; k -= 1) {
    for (let s = shown.length - 1; s >= 0; s -= 1) {
      longest[k][s] = same(kept[k], shown[s]) ? longest[k + 1][s + 1] + 1 : Math.max(longest[k + 1][s], longest[k][s + 1]);
    }
  }
  const places = kept.map(() => -1);
  let [k, s] = [0, 0];
  while (k < kept.length && s < shown.length) {
    if (same(kept[k], shown[s])) { places[k] = s; k += 1; s += 1; }
    else if (longest[k + 1][s] >= longest[k][s + 1]) k += 1;
    else s += 1;
  }
  return places;
}
