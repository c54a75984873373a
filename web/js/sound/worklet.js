/** Code for the audio thread, loaded once per context. */
const loaded = new WeakMap();

/** @returns {Promise<void>} when `file` (beside this one) has run in the context's audio thread */
export function loadWorklet(context, file) {
  if (!loaded.has(context)) loaded.set(context, new Map());
  const files = loaded.get(context);
  if (!files.has(file)) files.set(file, context.audioWorklet.addModule(new URL(file, import.meta.url)));
  return files.get(file);
}
