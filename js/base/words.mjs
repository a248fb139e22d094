// @ts-check
/**
 * Texts of the face in the user's language. The English text in the code is the key, so that it stands where it is used
 * and is what people see without a translation: `t("{count} LoRAs", {count: 3})`.
 *
 * To add a language: `locales/<language>/main.json` with `{"lorchestra": {"Add a LoRA": "…"}}`.
 */

/** @import { Api, Comfy } from "../types.d.ts" */

const SECTION = "lorchestra";
const SENTENCES = "lorchestraSentences"; // the server's
const DEEPEST = 200; // sentences inside sentences
/** @type {Record<string, unknown>} */
let translations = {};
/** @type {Record<string, unknown>} */
let sentences = {};
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
  const words = wordsOf(translations, text);
  return values ? filled(words, (name) => (Object.hasOwn(values, name) ? String(values[name]) : undefined)) : words;
}

/**
 * A sentence of the server's in its parts, as Python's `Sentence.to_json` gives it.
 * @typedef {{key: string, values: Record<string, Said>} | string} Said
 */

/**
 * A sentence of the server's in the user's language; what has no translation in it is in English.
 * @param {Said} said
 * @param {number} [left] how deep it may go
 * @returns {string}
 */
export function told(said, left = DEEPEST) {
  if (typeof said === "string") return said;
  const { key, values } = said;
  return filled(wordsOf(sentences, key), (name) => (Object.hasOwn(values, name) && left > 0 ? told(values[name], left - 1) : undefined));
}

/**
 * An answer of the server's whose sentences are in the user's language: those whose parts it has in `said`.
 * @template T
 * @param {T & {said?: Record<string, Said>}} answer
 * @returns {T}
 */
export function inWords(answer) {
  if (!answer?.said) return answer;
  const texts = Object.entries(answer.said).map(([name, said]) => [name, told(said)]);
  return { ...answer, ...Object.fromEntries(texts) };
}

/** @param {Record<string, unknown>} known @param {string} text */
function wordsOf(known, text) {
  const found = Object.hasOwn(known, text) ? known[text] : text;
  return typeof found === "string" && found ? found : text;
}

/** @param {string} words @param {(name: string) => string | undefined} value */
function filled(words, value) {
  return words.replace(/\{(\w+)\}/g, (match, name) => value(name) ?? match);
}

/**
 * A text that stands in the middle of a sentence elsewhere, as one of its own.
 * @param {string} text
 */
export function asSentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
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
    const found = names.map((name) => all?.[name]).find((one) => typeof one?.[SECTION] === "object" && one[SECTION]);
    translations = found?.[SECTION] ?? {};
    sentences = found?.[SENTENCES] ?? {};
  } catch (error) {
    console.warn("[Lorchestra] the translations could not be loaded:", error);
  }
}
