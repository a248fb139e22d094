// @ts-check
/** What a person may say of one input, or of one output. Fields are empty where nothing is said; what counts then is in them in grey. */

import { create } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { checked, labelled, showValue } from "./fields.mjs";

/** @import { Input, Item, Output, Row } from "../values/published.mjs" */

const TEXTS = ["text", "choice", "file"];

/**
 * @param {() => Item<Input> | undefined} find the input as it is now
 * @param {(changes: Row) => void} onChange
 * @returns {import("./rows.mjs").Editor}
 */
export function createInputEditor(find, onChange) {
  const element = create("div", {});
  let shape = "";
  let show = () => {};
  return {
    element,
    show() {
      const item = find();
      const input = item?.found ?? item?.made;
      if (!item || !input) return;
      const now = JSON.stringify([input.kind, Array.isArray(input.schema.enum) ? input.schema.enum : null]);
      if (now !== shape) { // the node may be another one by now
        shape = now;
        const parts = inputFields(input, onChange);
        element.replaceChildren(...parts.elements);
        show = () => {
          const current = find();
          const known = current?.found ?? current?.made;
          if (current && known) parts.show(current.row, known, current.made ?? known);
        };
      }
      show();
    },
  };
}

/**
 * @param {Input} input
 * @param {(changes: Row) => void} onChange
 */
function inputFields({ kind, schema }, onChange) {
  const isNumber = kind === "integer" || kind === "number";
  const choices = Array.isArray(schema.enum) ? schema.enum : [];
  const name = line("name", onChange);
  const title = line("title", onChange);
  const description = area("description", onChange);
  const least = number("minimum", onChange, kind);
  const most = number("maximum", onChange, kind);
  const rows = number("max_items", onChange, "integer");
  const allowed = create("textarea", {
    class: "lorchestra-field", rows: Math.min(Math.max(choices.length, 2), 6), spellcheck: false,
    onchange: () => {
      const lines = allowed.value.split("\n").map((one) => one.trim()).filter(Boolean);
      const values = lines.map((one) => choices.find((known) => String(known) === one) ?? one);
      onChange({ choices: values.length ? values : undefined });
    },
  });
  const own = defaultField(kind, choices, onChange);
  const required = create("input", { type: "checkbox", onchange: () => onChange({ required: required.checked || undefined }) });
  const elements = [
    labelled(t("Name, as programs call it"), name), labelled(t("Title, as people read it"), title), labelled(t("Description"), description),
    isNumber && create("div", { class: "lorchestra-publish-pair" }, labelled(t("Least"), least), labelled(t("Most"), most)),
    kind === "loras" && labelled(t("LoRAs at most"), rows),
    TEXTS.includes(kind) && labelled(t("Choices, one in each line"), allowed),
    own && labelled(t("Default"), own),
    checked(t("Callers must send it"), required),
  ].filter((one) => one instanceof Node);

  /** @param {Row} row @param {Input} found @param {Input} made */
  const show = (row, found, made) => {
    const field = (/** @type {HTMLInputElement | HTMLTextAreaElement} */ one, /** @type {string} */ key, /** @type {unknown} */ otherwise) => {
      showValue(one, row[key]);
      one.placeholder = otherwise === undefined || otherwise === null ? "" : String(otherwise);
    };
    field(name, "name", made.name);
    field(title, "title", found.title);
    field(description, "description", found.description);
    field(least, "minimum", found.schema.minimum);
    field(most, "maximum", found.schema.maximum);
    field(rows, "max_items", found.schema.maxItems);
    showValue(allowed, Array.isArray(row.choices) ? row.choices.join("\n") : "");
    allowed.placeholder = choices.slice(0, 100).join("\n");
    if (own instanceof HTMLSelectElement) showValue(own, row.default);
    else if (own) field(own, "default", found.default);
    required.checked = row.required === true || (row.required === undefined && found.required);
  };
  return { elements, show };
}

/**
 * @param {string} kind
 * @param {unknown[]} choices
 * @param {(changes: Row) => void} onChange
 * @returns {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement | null} null for what has none here
 */
function defaultField(kind, choices, onChange) {
  if (kind === "integer" || kind === "number") return number("default", onChange, kind);
  if (kind === "text") return area("default", onChange);
  if (kind === "file" && !choices.length) return line("default", onChange);
  const values = kind === "boolean" ? [true, false] : choices;
  if (!values.length) return null;
  const select = create("select", {
    class: "lorchestra-field", onchange: () => onChange({ default: values.find((one) => String(one) === select.value) }),
  }, create("option", { value: "", text: t("as in the workflow") }), ...values.map((one) => create("option", { value: String(one), text: wordFor(one) })));
  return select;
}

/** @param {unknown} value */
export function wordFor(value) {
  return value === true ? t("yes") : value === false ? t("no") : String(value);
}

/**
 * @param {() => Item<Output> | undefined} find
 * @param {(changes: Row) => void} onChange
 * @returns {import("./rows.mjs").Editor}
 */
export function createOutputEditor(find, onChange) {
  const name = line("name", onChange);
  const description = area("description", onChange);
  return {
    element: create("div", {}, labelled(t("Name, as programs call it"), name), labelled(t("Description"), description)),
    show() {
      const item = find();
      if (!item) return;
      showValue(name, item.row.name);
      name.placeholder = item.found?.name ?? "";
      showValue(description, item.row.description);
      description.placeholder = item.found?.description ?? "";
    },
  };
}

/** @param {string} key @param {(changes: Row) => void} onChange */
function line(key, onChange) {
  const field = create("input", {
    class: "lorchestra-field", type: "text", autocomplete: "off", spellcheck: false, "data-key": key,
    onchange: () => onChange({ [key]: field.value.trim() || undefined }),
  });
  return field;
}

/** @param {string} key @param {(changes: Row) => void} onChange */
function area(key, onChange) {
  const field = create("textarea", {
    class: "lorchestra-field", rows: 2, "data-key": key, onchange: () => onChange({ [key]: field.value || undefined }),
  });
  return field;
}

/** @param {string} key @param {(changes: Row) => void} onChange @param {string} kind */
function number(key, onChange, kind) {
  const field = create("input", {
    class: "lorchestra-field", type: "number", step: kind === "integer" ? 1 : "any", "data-key": key,
    onchange: () => onChange({ [key]: field.value === "" ? undefined : Number(field.value) }),
  });
  return field;
}
