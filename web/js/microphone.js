/** The user's microphone: getting it, and when it is open. */

const REASONS = {
  NotFoundError: "not_found",
  OverconstrainedError: "not_found",
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** People let go of the key a little before their last syllable ends. */
const TAIL_MS = 180;

/** `code`: not_found, denied, busy, insecure, unsupported or failed. */
export class MicrophoneError extends Error {
  constructor(code, detail = "") {
    super(detail || code);
    this.name = "MicrophoneError";
    this.code = code;
    this.detail = detail;
  }
}

/** Modes: "open" (always heard), "push_to_talk" (heard while held), "off". */
export class Microphone {
  #stream = null;
  #tail = 0;
  #wanted = "open";
  mode = "off";
  held = false;
  /** Called after every change of mode, hold or device. */
  onChange = () => {};
  /** Called with {mode} or {state} whenever the server has to know. */
  onListen = () => {};
  /** Called when the device goes away by itself. */
  onEnded = () => {};

  get available() {
    return this.#stream !== null;
  }

  get stream() {
    return this.#stream;
  }

  get track() {
    return this.#stream?.getAudioTracks()[0] ?? null;
  }

  /** Ask the browser for the device. Throws MicrophoneError; afterwards the mode is what was last used, or `mode`. */
  async acquire(mode = this.#wanted) {
    if (this.#stream) return;
    if (!navigator.mediaDevices?.getUserMedia) throw new MicrophoneError(window.isSecureContext ? "unsupported" : "insecure");
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (failure) {
      throw new MicrophoneError(REASONS[failure.name] ?? "failed", `${failure.name}: ${failure.message}`);
    }
    const stream = this.#stream;
    this.track.addEventListener("ended", () => stream === this.#stream && this.#gone());
    this.setMode(mode);
  }

  setMode(mode) {
    if (!this.available) mode = "off";
    if (mode !== "off") this.#wanted = mode;
    if (this.held && mode !== "push_to_talk") this.#letGo();
    const changed = mode !== this.mode;
    this.mode = mode;
    this.#apply();
    if (changed) this.onListen({ mode });
  }

  /** Mute, or go back to the mode before muting. */
  toggle() {
    this.setMode(this.mode === "off" ? this.#wanted : "off");
  }

  /** Begin to talk. A muted microphone becomes one that is held to talk. */
  press() {
    if (!this.available || this.mode === "open" || (this.held && !this.#tail)) return;
    if (this.mode === "off") this.setMode("push_to_talk");
    if (this.#tail) { clearTimeout(this.#tail); this.#tail = 0; return; }
    this.held = true;
    this.#apply();
    this.onListen({ state: "start" });
  }

  release() {
    if (!this.held || this.#tail) return;
    this.#tail = setTimeout(() => { this.#letGo(); this.#apply(); }, TAIL_MS);
  }

  /** Give the device back. */
  close() {
    clearTimeout(this.#tail);
    this.#tail = 0;
    this.held = false;
    this.track?.stop();
    this.#stream = null;
    this.mode = "off";
    this.onChange();
  }

  #letGo() {
    clearTimeout(this.#tail);
    this.#tail = 0;
    this.held = false;
    this.onListen({ state: "stop" });
  }

  #gone() {
    this.close();
    this.onListen({ mode: "off" });
    this.onEnded();
  }

  #apply() {
    if (this.track) this.track.enabled = this.mode === "open" || (this.mode === "push_to_talk" && this.held);
    this.onChange();
  }
}
