/**
 * Sound that comes in pieces, in time for a loudspeaker: each at its place on its reply's own clock. Pure.
 *
 * A reply's first sound waits for `delay`; where its zero then lies (`base`) all others follow. The delay is what the
 * network lately needed: how much later than the best one before it a piece came, at most. Nothing is made up: silence
 * is heard only where the reply pauses, or where a piece did not come in time, which is counted as a gap.
 *
 * All times are samples of the loudspeaker's clock.
 */

/** Milliseconds: of the first reply, of which nothing is known, and the limits for later ones. */
const FIRST = 160;
const LEAST = 60;
const MOST = 300;
/** Added to what was needed. */
const MARGIN = 20;
/** Replies of which the worst counts. */
const REMEMBERED = 8;
/** Silence in a reply that is a pause, where sound may be moved without being cut. */
const PAUSE = 40;
/** After a gap the sound goes on at once, but not so that the next piece is late again. */
const RESTART = 20;
/** What was announced as void may still sound for so long: a reply that goes on later begins a little before that place. */
const RUN_OUT = 60;
/** The best transit is forgotten at this rate: a server that slowly falls behind is no jitter. */
const LEAK = 0.05;
/** A sound that is cut off fades, or it clicks. */
const FADE = 5;
/** Quieter than this (of 1) for a whole block, and nobody hears when it lasts a little longer. */
const QUIET = 0.003;
/** What a sound that ended leaves behind sinks by this factor with each sample. */
const SINK = 0.97;

export class JitterBuffer {
  #unit;
  /** Pieces not played yet, in order: {line, at, samples}. */
  #pieces = [];
  /**
   * The newest reply: {reply, base, next, best, spread}. `next`: where its next piece begins on its own clock; `best`: the
   * shortest that a piece was under way lately; `spread`: how much longer one was than the best before it, at most.
   */
  #line = null;
  #spreads = [];
  #delay;
  #refused = null;
  #last = 0;
  #seq = null;
  #counts = { gaps: 0, gap: 0, lost: 0, late: 0, played: 0, stretched: 0 };
  /** Raised whenever some reply's `base` is another. */
  changes = 0;
  /** Memory of pieces that are over: whoever reads it takes it away. */
  #spent = [];

  /** @param {number} rate samples per second */
  constructor(rate) {
    this.#unit = rate / 1000;
    this.#delay = FIRST * this.#unit;
  }

  /**
   * Take in a piece. Its memory is ours until `release` gives it back.
   * @param {{reply: string, at: number, samples: Int16Array, seq?: number}} piece `at`: samples after the reply's first sound
   * @param {number} now
   */
  push({ reply, at, samples, seq = null }, now) {
    this.#count(seq);
    if (reply === this.#refused) { this.#spent.push(samples.buffer); return; }
    this.#refused = null;
    const follows = this.#line?.reply === reply && at >= this.#line.next - this.#unit;
    if (follows) this.#fit(at, now); else this.#begin(reply, at, now);
    const line = this.#line;
    this.#measure(now - at, samples.length);
    line.next = at + samples.length;
    this.#pieces.push({ line, at, samples });
  }

  /** Pieces were left out on purpose: those are not lost. */
  skip() {
    this.#seq = null;
  }

  /** Fill `out` (-1 to 1) with what sounds from `now` on. */
  pull(out, now) {
    out.fill(0);
    if (this.#stretches(out.length, now)) { this.#settle(out, 0); return; }
    const end = now + out.length;
    let filled = 0;
    while (this.#pieces.length > 0) {
      const { line, at, samples } = this.#pieces[0];
      const from = line.base + at;
      if (from >= end) break;
      const first = Math.max(0, now - from);
      const last = Math.min(samples.length, end - from);
      for (let index = first; index < last; index++) out[from + index - now] = samples[index] / 32768;
      if (last > first) { this.#counts.played += last - first; filled = from + last - now; }
      if (last < samples.length) break;
      this.#spent.push(this.#pieces.shift().samples.buffer);
    }
    this.#settle(out, filled);
  }

  /** Nothing of the reply at or after `at` is to sound any more. */
  clear(reply, at, now) {
    if (reply === this.#refused) { this.#refused = null; return; }
    const line = this.#line;
    if (line?.reply !== reply) return;
    this.#cut(Math.min(Math.max(line.base + at, now + FADE * this.#unit), now + RUN_OUT * this.#unit));
    line.next = Math.min(line.next, at);
  }

  /** Silence now; what still comes of the reply that was played is refused, until it is cleared or another begins. */
  flush(now) {
    if (this.#line) this.#refused = this.#line.reply;
    this.#cut(now + FADE * this.#unit);
    this.#end();
  }

  /** The reply that was flushed may go on after all. */
  allow() {
    this.#refused = null;
  }

  /** Where replies lie: the ones that can still be heard, oldest first. `base`: when their first sound was or will be. */
  get lines() {
    const lines = new Set(this.#pieces.map(({ line }) => line));
    if (this.#line) lines.add(this.#line);
    return [...lines].map(({ reply, base }) => ({ reply, base }));
  }

  /** @returns {ArrayBuffer[]} of pieces that are over: nobody here looks at them again */
  release() {
    return this.#spent.splice(0);
  }

  /** In milliseconds, or numbers of pieces. `lost`: never came; `late`: came after their time. */
  figures(now) {
    const { gaps, gap, lost, late, played, stretched } = this.#counts;
    const ms = (value) => Math.round(value / this.#unit);
    const buffered = Math.max(0, this.#until - now);
    return { gaps, gap_ms: ms(gap), lost, late, buffered_ms: ms(buffered), delay_ms: ms(this.#delay), jitter_ms: ms(this.#jitter), played_ms: ms(played), stretched_ms: ms(stretched) };
  }

  /** When the last sound that is here ends. */
  get #until() {
    const last = this.#pieces.at(-1);
    return last ? last.line.base + last.at + last.samples.length : -Infinity;
  }

  get #jitter() {
    return Math.max(0, this.#line?.spread ?? 0, ...this.#spreads);
  }

  #begin(reply, at, now) {
    this.#end();
    // What the one before still has to say comes first.
    const start = Math.ceil(Math.max(now + this.#delay, this.#until));
    this.#line = { reply, base: start - at, next: at, best: Infinity, spread: 0 };
    this.changes += 1;
  }

  /** The reply's next piece: move the reply where it can't be heard at its place, or where nobody hears that. */
  #fit(at, now) {
    const line = this.#line;
    const start = line.base + at;
    if (at > line.next + PAUSE * this.#unit) {
      line.best = Infinity;
      this.#move(line, now + this.#delay - start);
      return;
    }
    if (start >= now) return;
    this.#counts.gaps += 1;
    this.#counts.late += 1;
    this.#counts.gap += now + RESTART * this.#unit - start;
    this.#move(line, now + RESTART * this.#unit - start);
  }

  /** Later by so many samples. */
  #move(line, samples) {
    if (samples <= 0) return;
    line.base += Math.ceil(samples);
    this.changes += 1;
  }

  #measure(transit, length) {
    const line = this.#line;
    line.spread = Math.max(line.spread, transit - line.best);
    line.best = Math.min(line.best + LEAK * length, transit);
    const least = this.#spreads.length > 0 ? LEAST : FIRST;
    this.#delay = Math.min(MOST * this.#unit, Math.max(least * this.#unit, this.#jitter + MARGIN * this.#unit));
  }

  /** The newest reply is complete as far as we know. */
  #end() {
    if (!this.#line) return;
    this.#spreads.push(this.#line.spread);
    this.#spreads.splice(0, this.#spreads.length - REMEMBERED);
    this.#line = null;
  }

  /** In a quiet moment a reply that has less in store than the network needs waits for more. */
  #stretches(length, now) {
    const line = this.#line;
    const [first] = this.#pieces;
    if (!line || first?.line !== line) return false;
    const from = line.base + first.at;
    const short = line.best + Math.min(MOST * this.#unit, this.#jitter + MARGIN * this.#unit) - line.base;
    if (from > now || short <= 0 || now + length > from + first.samples.length) return false;
    const quiet = QUIET * 32768;
    const here = first.samples.subarray(now - from, now - from + length);
    if (Math.abs(this.#last) > QUIET || here.some((sample) => Math.abs(sample) > quiet)) return false;
    this.#counts.stretched += length;
    this.#move(line, length);
    return true;
  }

  /** Everything from `end` on is void; what is before fades out. */
  #cut(end) {
    end = Math.floor(end);
    const kept = [];
    for (const piece of this.#pieces) {
      const room = end - (piece.line.base + piece.at);
      if (room <= 0) this.#spent.push(piece.samples.buffer);
      else kept.push({ ...piece, samples: piece.samples.subarray(0, room) });
    }
    this.#pieces = kept;
    const last = kept.at(-1);
    if (!last || this.#until < end) return;
    const { samples } = last;
    const fade = Math.min(samples.length, Math.round(FADE * this.#unit));
    for (let left = fade; left > 0; left--) samples[samples.length - left] *= left / fade;
  }

  /** After the last of `filled` samples the loudspeaker comes to rest. */
  #settle(out, filled) {
    let rest = filled > 0 ? out[filled - 1] : this.#last;
    for (let index = filled; index < out.length; index++) {
      rest *= SINK;
      if (out[index] === 0) out[index] = rest;
    }
    this.#last = out.at(-1);
  }

  #count(seq) {
    if (seq === null) return;
    if (this.#seq !== null && seq > this.#seq + 1) this.#counts.lost += seq - this.#seq - 1;
    this.#seq = seq;
  }
}
