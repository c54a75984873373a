/** One WebRTC connection: offer, answer, state, statistics. */
import { ApiError } from "./api.js";

/** How long to wait for more candidates after the first host candidate. A relay takes a round trip, a host is enough without. */
const GRACE_MS = 250;
const RELAY_GRACE_MS = 2000;
/** How long to wait when no candidate shows up at all. */
const GATHER_LIMIT_MS = 3000;

/** Whether media are still coming is looked at twice, so far apart. */
const LOOK_MS = 1_200;

export class Peer {
  #connection;
  #relayed;
  #pictures = null;

  /**
   * @param {RTCIceServer[]} iceServers
   * @param {MediaStreamTrack | null} track the microphone; null to listen only
   * @param {(state: RTCPeerConnectionState) => void} onState
   * @param {(stream: MediaStream) => void} onStream called when the avatar's media is known
   */
  constructor(iceServers, track, onState, onStream) {
    if (typeof RTCPeerConnection === "undefined") throw new ApiError("no_webrtc");
    this.#connection = new RTCPeerConnection({ iceServers });
    this.#relayed = iceServers.some(({ urls }) => [urls].flat().some((url) => /^turns?:/.test(url)));
    this.#connection.onconnectionstatechange = () => onState(this.#connection.connectionState);
    const own = new MediaStream();
    this.#connection.ontrack = ({ track: received, streams: [stream] }) => {
      if (!stream) own.addTrack(received);
      onStream(stream ?? own);
    };
    this.#connection.addTransceiver(track ?? "audio", { direction: track ? "sendrecv" : "recvonly" });
    this.#connection.addTransceiver("video", { direction: "recvonly" });
  }

  get state() {
    return this.#connection.connectionState;
  }

  /** @returns {Promise<{type: string, sdp: string}>} what an offer says, with the candidates found so far */
  async request() {
    await this.#connection.setLocalDescription(await this.#connection.createOffer());
    await gathered(this.#connection, this.#relayed ? RELAY_GRACE_MS : GRACE_MS);
    return { type: "offer", sdp: this.#connection.localDescription.sdp };
  }

  /** The server took the offer. */
  async begin({ sdp }) {
    await this.#connection.setRemoteDescription({ type: "answer", sdp });
  }

  /** Resolves when media can flow; rejects with `ice_failed` after `limit` ms or when the browser gives up. */
  connected(limit) {
    const connection = this.#connection;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(new ApiError("ice_failed")), limit);
      const look = () => {
        if (connection.connectionState === "connected") settle();
        else if (["failed", "closed"].includes(connection.connectionState)) settle(new ApiError("ice_failed"));
      };
      const settle = (failure) => {
        clearTimeout(timer);
        connection.removeEventListener("connectionstatechange", look);
        if (failure) reject(failure); else resolve();
      };
      connection.addEventListener("connectionstatechange", look);
      look();
    });
  }

  /** Exchange the microphone without a new offer. @returns {Promise<boolean>} false when this peer never sent audio */
  async replaceTrack(track) {
    const sender = this.#connection.getTransceivers().find((one) => one.direction === "sendrecv")?.sender;
    if (!sender) return false;
    await sender.replaceTrack(track);
    return true;
  }

  /** @returns {Promise<{rtt: number | null, fps: number | null}>} round trip in ms, pictures per second */
  async stats() {
    const found = { pair: null, video: null, remote: null, chosen: null };
    const report = await this.#connection.getStats();
    for (const entry of report.values()) {
      if (entry.type === "transport" && entry.selectedCandidatePairId) found.chosen = report.get(entry.selectedCandidatePairId);
      if (entry.type === "candidate-pair" && entry.nominated && entry.state === "succeeded") found.pair = entry;
      if (entry.type === "inbound-rtp" && entry.kind === "video") found.video = entry;
      if (entry.type === "remote-inbound-rtp") found.remote = entry;
    }
    const seconds = (found.chosen ?? found.pair)?.currentRoundTripTime ?? found.remote?.roundTripTime;
    return { rtt: seconds === undefined ? null : seconds * 1000, fps: this.#rate(found.video) };
  }

  /** @returns {Promise<boolean>} whether media still come; a server that was restarted tells nobody */
  async alive() {
    const before = await this.#received();
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    return (await this.#received()) !== before;
  }

  /** @returns {Promise<number>} packets of media received so far */
  async #received() {
    const entries = [...(await this.#connection.getStats()).values()];
    return entries.reduce((sum, { type, packetsReceived }) => sum + (type === "inbound-rtp" ? packetsReceived : 0), 0);
  }

  /** Counted from decoded pictures: not every browser reports framesPerSecond, and none does so when it stalls. */
  #rate(video) {
    const before = this.#pictures;
    this.#pictures = video && { at: video.timestamp, count: video.framesDecoded ?? 0 };
    if (!before || !video || video.timestamp <= before.at) return null;
    return ((this.#pictures.count - before.count) * 1000) / (video.timestamp - before.at);
  }

  close() {
    this.#connection.onconnectionstatechange = null;
    this.#connection.ontrack = null;
    this.#connection.close();
  }
}

/** Resolves when gathering is complete, or `grace` ms after the first host candidate: a dead STUN server must not delay us. */
function gathered(connection, grace) {
  if (connection.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    let timer = setTimeout(resolve, GATHER_LIMIT_MS);
    let hosts = 0;
    connection.addEventListener("icegatheringstatechange", () => connection.iceGatheringState === "complete" && resolve());
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (!candidate?.candidate.includes(" typ host") || hosts++) return;
      clearTimeout(timer);
      timer = setTimeout(resolve, grace);
    });
  });
}
