/** Errors in the user's words. */
import { has, t } from "./i18n.js";

/** @returns {{code: string, title: string, text: string}} by the error's code, else what the server said */
export function describe(error) {
  const code = error.code ?? "unknown";
  const detail = error.detail ?? error.message ?? "";
  const key = has(`error.${code}`) ? `error.${code}` : "error.unknown";
  return { code, title: t(key), text: t(`${key}.text`, { detail }) };
}

/** The same for a MicrophoneError. */
export function describeMicrophone(error) {
  const code = has(`mic.${error.code}`) ? error.code : "failed";
  return { code: `mic_${code}`, title: t(`mic.${code}`), text: t(`mic.${code}.text`, { detail: error.detail ?? "" }) };
}
