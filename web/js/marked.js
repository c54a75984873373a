/** Elements that are marked with the keys of their texts. */

/**
 * Write every one below `root`: text, accessible name (with tooltip on buttons), placeholder; and the page's own
 * language and title.
 * @param {"en" | "zh"} language
 * @param {(key: string) => string} t the text for a key
 */
export function writeMarked(root, language, t) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = t("page.title");
  for (const element of root.querySelectorAll("[data-i18n]")) element.textContent = t(element.dataset.i18n);
  for (const element of root.querySelectorAll("[data-i18n-placeholder]")) element.placeholder = t(element.dataset.i18nPlaceholder);
  for (const element of root.querySelectorAll("[data-i18n-label]")) {
    element.setAttribute("aria-label", t(element.dataset.i18nLabel));
    if (element.matches("button")) element.title = t(element.dataset.i18nLabel);
  }
}
