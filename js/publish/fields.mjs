// @ts-check
/** Fields with a label, as all forms of the panel have them. */

import { create } from "../base/dom.mjs";

let made = 0;

/**
 * A text before a field that belongs to it.
 * @param {string} label
 * @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field
 * @param {...(Node | null | false)} more what stands below it
 */
export function labelled(label, field, ...more) {
  field.id ||= `lorchestra-field-${made += 1}`;
  return create("div", { class: "lorchestra-publish-field" }, create("label", { text: label, htmlFor: field.id }), field, ...more);
}

/** @param {string} text @param {HTMLInputElement} box */
export function checked(text, box) {
  return create("label", { class: "lorchestra-publish-check" }, box, text);
}

/**
 * Shows a value, unless somebody is typing another one.
 * @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field
 * @param {unknown} value
 */
export function showValue(field, value) {
  const text = value === undefined || value === null ? "" : String(value);
  if (document.activeElement !== field && field.value !== text) field.value = text;
}
