/** The page's audio contexts: one for listening, at the device's own rate, and one for the avatar's voice. */

/** The rate at which the server sends sound; the browser makes the loudspeaker's of it. */
export const VOICE_RATE = 24_000;

let ears = null;
let voice = null;

/** Must be called from a user's gesture once; browsers start audio contexts only then. */
export function wakeAudio() {
  ears ??= new (window.AudioContext ?? window.webkitAudioContext)();
  for (const context of [ears, voice]) if (context?.state === "suspended") context.resume().catch(() => { /* at the next gesture */ });
}

/** For meters and the microphone; null before the first gesture. */
export function listeningContext() {
  return ears;
}

/** For the avatar's voice. It may be suspended until the user does something. */
export function voiceContext() {
  voice ??= new AudioContext({ sampleRate: VOICE_RATE, latencyHint: "interactive" });
  return voice;
}

/** Whether sound can come and go without WebRTC: worklets exist only on secure pages. */
export function workletsPossible() {
  return window.isSecureContext && "AudioWorkletNode" in window;
}
