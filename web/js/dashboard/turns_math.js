/** The parts of an answer's waiting time, made from its marks. */

export const PARTS = ["transcript", "first_token", "first_audio", "on_wire"];

/**
 * The time up to each mark that was reached, since the one before it; a mark that lies before its predecessor has no part.
 * @param {object} marks ms after the end of speech, null where not reached
 * @returns {{name: string, from: number, to: number, length: number}[]}
 */
export function partsOf(marks) {
  const parts = [];
  let from = 0;
  for (const name of PARTS) {
    const to = marks[name];
    if (to === null || to === undefined || to < from) continue;
    parts.push({ name, from, to, length: to - from });
    from = to;
  }
  return parts;
}

/** The last mark that was reached, null when none was. */
export function lastMark(marks) {
  return partsOf(marks).at(-1)?.to ?? null;
}
