/** Kept conversations: the only place of the page that touches their storage. */
import { readOldHistory } from "./old_history.js";

const KEPT = "eman.chat";
const SWITCH = "eman.storage";
/** Where pages before this one left the log, as a string of HTML. */
const OLD = "chatHistory";
const VERSION = 1;
const MOST_ENTRIES = 500;
/** Sessions whose tickets are remembered, so that clearing reaches what the server kept of them. */
const MOST_SESSIONS = 60;
const LONGEST = 8000;

/**
 * An entry: {id, role: "user" | "avatar", who, text, at: Unix ms or null, state: "final" | "done" | "interrupted"}; its id is the
 * message's number, so several tabs keep it once. A conversation: {sessionid, token, at, entries}.
 */
export class ChatStorage {
  #store;
  /** Another tab cleared the history. */
  onCleared = () => {};
  /** Another tab moved the switch. */
  onSwitched = () => {};

  /** A browser that forbids storage keeps nothing. */
  constructor() {
    try { this.#store = window.localStorage; } catch { this.#store = null; }
    if (this.enabled) this.#importOld();
    else this.#remove(KEPT, OLD);
    window.addEventListener("storage", ({ key, newValue, storageArea }) => {
      if (storageArea !== this.#store || !storageArea) return;
      if (key === SWITCH) this.onSwitched();
      if ((key === KEPT && newValue === null) || key === null) this.onCleared();
    });
  }

  get enabled() {
    return this.#read(SWITCH) !== "off";
  }

  /** Turning it off deletes what was kept. */
  set enabled(enabled) {
    if (enabled) this.#remove(SWITCH);
    else this.#write(SWITCH, "off");
    if (!enabled) this.clear();
  }

  /** @returns {object[]} all kept conversations, oldest first */
  get conversations() {
    return this.#load();
  }

  /** What is kept of one conversation, oldest first. */
  entries(sessionid) {
    return this.#load().find((one) => one.sessionid === sessionid)?.entries ?? [];
  }

  /** Remember that this conversation exists, and what opens it. */
  open({ sessionid, token = "" }) {
    this.#change((conversations) => { conversation(conversations, sessionid).token = token; });
  }

  /** Keep an entry, at its time; one with the same id is replaced. */
  add(sessionid, entry) {
    const kept = { ...entry, text: entry.text.slice(0, LONGEST) };
    this.#change((conversations) => {
      const { entries } = conversation(conversations, sessionid);
      const place = kept.id === null ? -1 : entries.findIndex(({ id }) => id === kept.id);
      if (place >= 0) entries[place] = { ...kept, at: entries[place].at ?? kept.at };
      else entries.splice(placeOf(entries, kept.at), 0, kept);
    });
  }

  /** Forget one conversation; `before`: only what is older than the message of this number. */
  forget(sessionid, before = Infinity) {
    const conversations = this.#load();
    const found = conversations.find((one) => one.sessionid === sessionid);
    if (!found) return;
    found.entries = found.entries.filter(({ id }) => before !== Infinity && !(typeof id === "number" && id < before));
    this.#save(conversations.filter((one) => one !== found || one.entries.length > 0));
  }

  /** Forget everything, in the current and in older formats. */
  clear() {
    this.#remove(KEPT, OLD);
  }

  #change(edit) {
    if (!this.enabled) return;
    const conversations = this.#load();
    edit(conversations);
    this.#save(conversations);
  }

  #load() {
    let kept = null;
    try { kept = JSON.parse(this.#read(KEPT) ?? "null"); } catch { return []; }
    if (kept?.version !== VERSION || !Array.isArray(kept.conversations)) return [];
    return kept.conversations.filter((one) => typeof one?.sessionid === "string" && Array.isArray(one.entries));
  }

  /** When the browser gives no more room, half of the oldest goes, until it fits. */
  #save(conversations) {
    let room = MOST_ENTRIES;
    while (room > 0) {
      const bounded = newest(conversations, room);
      if (bounded.length === 0) return this.#remove(KEPT);
      if (this.#write(KEPT, JSON.stringify({ version: VERSION, conversations: bounded }))) return undefined;
      room = Math.floor(room / 2);
    }
    return this.#remove(KEPT);
  }

  #importOld() {
    const html = this.#read(OLD);
    if (html === null) return;
    const entries = readOldHistory(html);
    this.#remove(OLD);
    if (entries.length === 0) return;
    const old = { sessionid: "", token: "", at: null, entries };
    this.#save([old, ...this.#load()]);
  }

  #read(key) {
    try { return this.#store?.getItem(key) ?? null; } catch { return null; }
  }

  #write(key, text) {
    try { this.#store?.setItem(key, text); } catch { return false; }
    return true;
  }

  #remove(...keys) {
    for (const key of keys) {
      try { this.#store?.removeItem(key); } catch { /* a store that can't be read keeps nothing either */ }
    }
  }
}

/** The one with this id, made when there is none. */
function conversation(conversations, sessionid) {
  let found = conversations.find((one) => one.sessionid === sessionid);
  if (!found) conversations.push(found = { sessionid, token: "", at: Date.now(), entries: [] });
  return found;
}

/** Behind the last entry that is not younger; what has no time comes last. */
function placeOf(entries, at) {
  return at === null ? entries.length : entries.findLastIndex((one) => one.at === null || one.at <= at) + 1;
}

/** The newest `most` entries in their conversations; an emptied one stays for its ticket. */
function newest(conversations, most) {
  let room = most;
  const kept = [];
  for (const one of conversations.slice(-MOST_SESSIONS).reverse()) {
    const entries = room > 0 ? one.entries.slice(-room) : [];
    room -= entries.length;
    if (entries.length > 0 || one.token) kept.unshift({ ...one, entries });
  }
  return kept;
}
