/** What is kept of conversations, from the user's side: the switch, clearing, and what is shown of earlier ones. */
import { deleteHistory } from "./api.js";
import { describe } from "./failure.js";
import { keptByServer } from "./history.js";
import { t } from "./i18n.js";

export class Memory {
  #storage;
  #chat;
  #earlier;
  #confirm;
  #notices;
  #toggle;
  #current = null;
  #server = false;
  /** Called with the switch's new position. */
  onSwitch = () => {};

  /**
   * @param {import("./storage.js").ChatStorage} storage
   * @param {import("./chat.js").Chat} chat
   * @param {import("./earlier.js").Earlier} earlier
   * @param {import("./confirm.js").Confirm} confirm
   * @param {import("./notice.js").Notices} notices
   * @param {HTMLInputElement} toggle the switch
   */
  constructor(storage, chat, earlier, confirm, notices, toggle) {
    this.#storage = storage;
    this.#chat = chat;
    this.#earlier = earlier;
    this.#confirm = confirm;
    this.#notices = notices;
    this.#toggle = toggle;
    toggle.checked = storage.enabled;
    toggle.addEventListener("change", () => this.#switch(toggle.checked));
    storage.onSwitched = () => { toggle.checked = storage.enabled; };
    storage.onCleared = () => this.#wipe();
    this.#showEarlier();
  }

  /** Whether the server keeps conversations, too. */
  set server(server) {
    this.#server = server;
    const words = this.#toggle.parentElement.querySelector("small");
    words.dataset.i18n = server ? "chat.keep.both" : "chat.keep.here";
    words.textContent = t(server ? "chat.keep.both" : "chat.keep.here");
  }

  get enabled() {
    return this.#storage.enabled;
  }

  /** Whether there is anything to clear. */
  get empty() {
    return this.#chat.empty && this.#earlier.empty;
  }

  /** A conversation begins or goes on, with new credentials perhaps; `restored`: this page shows nothing of it yet. */
  open(credentials, restored = false) {
    const another = this.#current?.sessionid !== credentials.sessionid;
    this.#current = credentials;
    // Where nothing is kept, what was said stays in view as long as the page does.
    if (another && this.enabled) this.#chat.clear();
    if (another) this.#showEarlier();
    if (restored) this.#chat.paint(this.#storage.entries(credentials.sessionid));
    this.#storage.open(credentials);
  }

  /** The page shows no conversation any more. */
  close() {
    this.#current = null;
    this.#wipe();
  }

  /** Keep an entry of the current conversation; see storage.js. */
  keep(entry) {
    if (this.#current) this.#storage.add(this.#current.sessionid, { ...entry, at: entry.at ?? this.timeOf(entry.id) });
  }

  /** When a message of the current conversation was, as far as it is kept: Unix ms or null. */
  timeOf(number) {
    const entries = this.#current ? this.#storage.entries(this.#current.sessionid) : [];
    return entries.find(({ id }) => id === number)?.at ?? null;
  }

  /** Show what only the server still has of the current conversation. It may have nothing, which is no failure. */
  async fill() {
    if (!this.#server || !this.enabled || !this.#current) return;
    const { sessionid } = this.#current;
    try {
      const entries = await keptByServer(this.#current);
      if (this.#current?.sessionid !== sessionid) return;
      for (const bubble of this.#chat.fill(entries)) this.keep(bubble.entry);
    } catch (failure) {
      console.warn("eman: history:", failure.code ?? failure.message);
    }
  }

  /** The history was deleted; `before`: only what is older than this message. */
  cleared(before = Infinity) {
    this.#chat.clear(before);
    if (!this.#current) return;
    this.#storage.forget(this.#current.sessionid, before);
    this.#storage.open(this.#current);
  }

  /** Clear everything, after a question. */
  async clear() {
    const words = { title: t("clear.title"), text: t("clear.text"), yes: t("clear.yes") };
    if (await this.#confirm.ask(words)) await this.#delete(this.#tickets());
  }

  async #switch(on) {
    if (!on && !this.empty) {
      const words = { title: t("keep.off.title"), text: t("keep.off.text"), yes: t("keep.off.yes") };
      this.#toggle.checked = true;
      if (!(await this.#confirm.ask(words))) return;
      this.#toggle.checked = false;
    }
    // In this order: what is said in between must not be kept by the server after all.
    if (!on) this.onSwitch(false);
    const tickets = this.#tickets();
    this.#storage.enabled = on;
    if (on) this.onSwitch(true);
    else await this.#delete(tickets);
    if (on && this.#current) this.#storage.open(this.#current);
  }

  /** Delete here at once, and then on the server. */
  async #delete(tickets) {
    this.#storage.clear();
    this.#wipe();
    if (this.#current) this.#storage.open(this.#current);
    await this.#deleteOnServer(this.#server ? tickets : []);
  }

  /** What the server could not be told is remembered and offered again. */
  async #deleteOnServer(tickets) {
    this.#notices.dismiss("not_cleared");
    const left = [];
    let reason = null;
    for (const ticket of tickets) {
      try {
        await deleteHistory(ticket);
      } catch (failure) {
        left.push(ticket);
        reason = failure;
      }
    }
    for (const ticket of left) this.#storage.open(ticket);
    if (reason) this.#tellLeft(left, reason);
    else this.#notices.show({ code: "cleared", title: t("clear.done") });
  }

  #tellLeft(left, reason) {
    const action = { label: t("notice.retry"), run: () => this.#deleteOnServer(left) };
    this.#notices.show({ code: "not_cleared", kind: "warning", title: t("clear.failed"), text: describe(reason).title, action });
  }

  /** What opens the conversations that the server may have kept, the current one first. */
  #tickets() {
    const kept = this.#storage.conversations.filter(({ sessionid }) => sessionid && sessionid !== this.#current?.sessionid);
    return [...(this.#current ? [this.#current] : []), ...kept.map(({ sessionid, token }) => ({ sessionid, token }))];
  }

  #wipe() {
    this.#chat.clear();
    this.#showEarlier();
  }

  #showEarlier() {
    this.#earlier.show(this.#storage.conversations.filter(({ sessionid }) => !sessionid || sessionid !== this.#current?.sessionid));
    this.#chat.changed();
    this.#chat.toEnd();
  }
}
