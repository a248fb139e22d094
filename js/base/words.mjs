// @ts-check
/**
 * Texts of the face in the user's language. The English text in the code is the key, so that it stands where it is used
 * and is what people see without a translation: `t("{count} LoRAs", {count: 3})`.
 *
 * To add a language: `locales/<language>/main.json` with `{"lorchestra": {"Add a LoRA": "…"}}`.
 */

/** @import { Api, Comfy } from "../types.d.ts" */

const SECTION = "lorchestra";
/** @type {Record<string, unknown>} */
let translations = {};
/** @type {Promise<void> | undefined} */
let loading;

/**
 * Loads the translations, once. Without them, and where they cannot be had, the face is in English.
 * @param {Api} api
 * @param {string} [locale] ComfyUI's setting `Comfy.Locale`, e.g. `zh`; without it, the browser's language
 * @returns {Promise<void>}
 */
export function loadWords(api, locale) {
  loading ??= load(api, locale || globalThis.navigator?.language || "en");
  return loading;
}

/**
 * @param {string} text in English; `{name}` stands for a value
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(text, values) {
  const known = Object.hasOwn(translations, text) ? translations[text] : text;
  const words = typeof known === "string" && known ? known : text;
  if (!values) return words;
  return words.replace(/\{(\w+)\}/g, (match, name) => (Object.hasOwn(values, name) ? String(values[name]) : match));
}

/**
 * @param {Api} api
 * @param {string} locale
 */
async function load(api, locale) {
  if (/^en\b/i.test(locale)) return;
  try {
    const answer = await api.fetchApi("/i18n");
    if (!answer.ok) return;
    const all = await answer.json();
    const names = [locale, locale.split(/[-_]/)[0]]; // zh-TW, zh
    const found = names.map((name) => all?.[name]?.[SECTION]).find((section) => typeof section === "object" && section);
    if (found) translations = found;
  } catch (error) {
    console.warn("[Lorchestra] the translations could not be loaded:", error);
  }
}
