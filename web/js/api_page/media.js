/** A minimal WebRTC session, so that there is something to talk to: makes a real offer, shows what comes. */
import { $, put, set } from "../dashboard/dom.js";
import { t, word } from "../dashboard/language.js";
import { Peer } from "../peer.js";

export class MediaPanel {
  #peer = null;
  #microphone = null;
  #sendOffer;

  /** @param {(sdp: string) => Promise<object | null>} sendOffer sends it, gives the answer's body */
  constructor(sendOffer) {
    this.#sendOffer = sendOffer;
    $("media-connect").addEventListener("click", () => (this.#peer ? this.close() : this.connect()));
    window.addEventListener("pagehide", () => this.close());
    this.show();
  }

  /** Offer, apply the answer. What fails is shown by the /offer form, or here when the browser refuses. */
  async connect() {
    put($("media-note"), "");
    this.show("connecting");
    try {
      const response = await fetch(new URL("./api/config", document.baseURI), { cache: "no-store" });
      const servers = (await response.json()).data.ice_servers;
      const track = $("media-microphone").checked ? await this.#listen() : null;
      this.#peer = new Peer(servers, track, (state) => this.#changed(state), (stream) => { $("media-video").srcObject = stream; });
      const answer = await this.#sendOffer((await this.#peer.request()).sdp);
      if (!answer?.sdp) return this.close("media.refused");
      await this.#peer.begin(answer);
    } catch (failure) {
      this.close();
      put($("media-note"), String(failure));
    }
  }

  close(note = "") {
    this.#peer?.close();
    this.#peer = null;
    this.#microphone?.stop();
    this.#microphone = null;
    $("media-video").srcObject = null;
    put($("media-note"), note ? t(note) : "");
    this.show();
  }

  show(state = this.#peer?.state ?? "closed") {
    set($("media"), "data-state", state);
    put($("media-state"), word("media", state));
    put($("media-connect"), t(this.#peer || state === "connecting" ? "media.close" : "media.connect"));
  }

  #changed(state) {
    this.show(state);
    if (state === "failed" || state === "closed") this.close("media.lost");
  }

  async #listen() {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true } });
    [this.#microphone] = stream.getAudioTracks();
    return this.#microphone;
  }
}
