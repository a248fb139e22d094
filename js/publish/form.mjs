// @ts-check
/** A form made from a published workflow's schema, which runs it and shows what comes out. */

import { create, icon, setAttribute } from "../base/dom.mjs";
import { asSentence, t } from "../base/words.mjs";
import { openPicker } from "../picker/picker.mjs";
import { bodyOf, fieldAt, fieldsOf, randomNumber, typedValue } from "../values/form.mjs";
import { isObject } from "../values/json.mjs";
import { wordFor } from "./editor.mjs";
import { labelled } from "./fields.mjs";
import { createRun } from "./run.mjs";
import { call, reasonOf, Refused } from "./service.mjs";
import { ICONS } from "./style.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @import { Field } from "../values/form.mjs" */
/** @import { Draft } from "../values/published.mjs" */

const MOST_FILE = 32_000_000; // bytes: a request has 48 MB at most, and base64 takes a third more
const DEFAULT_WEIGHT = 1;

/**
 * @typedef {object} Control
 * @property {HTMLElement} element
 * @property {() => Promise<unknown>} value undefined for what is left to the workflow
 * @property {(text: string, row: number | undefined) => void} complain "" takes it back
 */

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {() => void} options.onTokenNeeded
 */
export function createForm(comfy, { onTokenNeeded }) {
  /** Name → its control. @type {Map<string, Control>} */
  let controls = new Map();
  let shown = "";
  let wanted = "";
  let name = "";
  const says = create("p", { class: "lorchestra-publish-says lorchestra-quiet" });
  const problem = create("p", { class: "lorchestra-publish-says lorchestra-bad", role: "alert" });
  const fields = create("div", {});
  const start = create("button", { type: "submit", class: "lorchestra-button lorchestra-publish-main", text: t("Run") });
  const run = createRun(comfy, {
    onChange: (isRunning) => { start.disabled = isRunning; },
    onProblem: (error) => complain(error),
  });
  const form = create("form", {
    class: "lorchestra-publish-form", noValidate: true,
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      void submit();
    },
  }, fields, problem, create("div", { class: "lorchestra-publish-buttons" }, start), run.element);
  const element = create("div", {}, says, form);

  const submit = async () => {
    for (const control of controls.values()) control.complain("", undefined);
    problem.textContent = "";
    start.disabled = true;
    try {
      const entries = await Promise.all([...controls].map(async ([key, control]) => [key, await control.value()]));
      const job = await call(comfy, "POST", `/workflows/${encodeURIComponent(name)}/jobs`, bodyOf(Object.fromEntries(entries)));
      await run.follow(job);
    } catch (error) {
      start.disabled = false;
      complain(error);
    }
  };

  /** @param {unknown} error */
  const complain = (error) => {
    if (error instanceof Refused && error.status === 401) {
      onTokenNeeded();
      return;
    }
    const at = fieldAt(error instanceof Refused ? error.path : "");
    const control = controls.get(at.name);
    if (control) control.complain(asSentence(reasonOf(error)), at.row);
    else problem.textContent = asSentence(reasonOf(error));
  };

  return {
    element,
    close: run.close,
    /** @param {string} workflow @param {Draft} draft */
    async show(workflow, { versions, is_published: isPublished }) {
      const version = versions.at(-1);
      form.hidden = version === undefined;
      says.textContent = version === undefined ? t("Publish the workflow first. Then this is a form that runs it.")
        : isPublished ? t("Runs version {version}.", { version }) : t("Runs version {version}, without your changes since then.", { version });
      const key = `${workflow}@${version}`;
      wanted = key;
      if (version === undefined || shown === key) return;
      const schema = await call(comfy, "GET", `/workflows/${encodeURIComponent(key)}/schema.json`);
      if (wanted !== key) return;
      shown = key;
      name = workflow;
      const made = fieldsOf(schema).map((field) => /** @type {const} */ ([field.name, createControl(comfy, field)]));
      controls = new Map(made);
      fields.replaceChildren(...made.map(([, control]) => control.element));
    },
  };
}

/** @param {Comfy} comfy @param {Field} field @returns {Control} */
function createControl(comfy, field) {
  if (field.control === "loras") return createLoras(comfy, field);
  if (field.control === "media") return createMedia(field);
  return createTyped(field);
}

/** @param {Field} field @param {HTMLElement} input @param {Node} inner @param {string} label */
function framed(field, input, inner, label) {
  const problem = create("p", { class: "lorchestra-publish-problem lorchestra-bad", role: "alert", hidden: true });
  const hint = create("span", { text: field.description, hidden: !field.description, id: `lorchestra-form-${field.name}-hint` });
  setAttribute(input, "aria-describedby", field.description ? hint.id : null);
  const element = input instanceof HTMLInputElement || input instanceof HTMLTextAreaElement || input instanceof HTMLSelectElement
    ? labelled(label, input, problem, hint)
    : create("div", { class: "lorchestra-publish-field", role: "group", "aria-label": label }, create("span", { text: label }), inner, problem, hint);
  /** @param {string} text */
  const complain = (text) => {
    problem.textContent = text;
    problem.hidden = !text;
    setAttribute(input, "aria-invalid", text ? true : null);
    if (text) {
      input.focus();
      element.scrollIntoView({ block: "nearest" });
    }
  };
  return { element, complain };
}

/** @param {Field} field */
function labelOf({ title, name, required }) {
  const isSame = title.toLowerCase().replaceAll(" ", "_") === name;
  const label = isSame ? title : t("{title} ({name})", { title, name });
  return required ? t("{label}, required", { label }) : label;
}

/** @param {Field} field @returns {Control} */
function createTyped(field) {
  const { control, default: own, choices, most } = field;
  const text = own === undefined ? "" : typeof own === "string" ? own : JSON.stringify(own);
  const properties = { class: "lorchestra-field", spellcheck: control === "text", "data-field": field.name };
  /** @type {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} */
  let input;
  if (control === "choice" || control === "boolean") {
    const values = control === "boolean" ? [true, false] : choices;
    const none = own === undefined ? [create("option", { value: "", text: "–" })] : [];
    input = create("select", properties, ...none, ...values.map((one) => create("option", { value: String(one), text: wordFor(one) })));
    input.value = text;
  } else if (control === "text" || control === "json") {
    input = create("textarea", { ...properties, rows: 3, value: text, ...(most < Infinity && { maxLength: most }) });
  } else {
    const isNumber = control !== "line";
    // As text: seeds have more digits than a field for numbers keeps.
    input = create("input", { ...properties, type: "text", inputMode: isNumber ? "decimal" : "text", autocomplete: "off", value: text });
    if (isNumber) stepByKeys(input, field);
  }
  const isSeed = field.role === "seed" && control === "integer";
  const dice = isSeed && create("button", {
    type: "button", class: "lorchestra-publish-icon", title: t("Another seed"), "aria-label": t("Another seed"),
    onclick: () => { input.value = String(randomNumber(field)); },
  }, icon(ICONS.dice));
  const frame = framed(field, input, input, labelOf(field));
  if (dice) {
    const beside = create("div", { class: "lorchestra-publish-beside" });
    input.replaceWith(beside);
    beside.append(input, dice);
  }
  const range = [field.minimum, field.maximum].some((one) => one !== undefined) && control !== "choice";
  if (range) input.title = rangeOf(field);
  return {
    element: frame.element,
    complain: frame.complain,
    value: async () => (input.value === text && !field.required ? undefined : typedValue(field, input.value)),
  };
}

/** @param {Field} field */
function rangeOf({ minimum, maximum }) {
  return t("{least} to {most}", { least: minimum ?? "−∞", most: maximum ?? "∞" });
}

/**
 * Up and down change a number by its step, within its range.
 * @param {HTMLInputElement} input
 * @param {Field} field
 */
function stepByKeys(input, { control, step, minimum = -Infinity, maximum = Infinity }) {
  const by = step ?? (control === "integer" ? 1 : 0.1);
  input.addEventListener("keydown", (event) => {
    const sign = event.key === "ArrowUp" ? 1 : event.key === "ArrowDown" ? -1 : 0;
    const now = Number(input.value);
    if (!sign || !Number.isSafeInteger(Math.round(now)) || event.altKey) return;
    event.preventDefault();
    input.value = String(Number(Math.min(Math.max(now + sign * by, minimum), maximum).toFixed(6)));
  });
}

/** @param {Field} field @returns {Control} */
function createMedia(field) {
  const accept = { image: "image/*", mask: "image/*", video: "video/*,image/gif,image/webp", audio: "audio/*,video/*" }[field.role];
  const input = create("input", { class: "lorchestra-field", type: "file", accept: accept ?? "", "data-field": field.name });
  const frame = framed(field, input, input, labelOf(field));
  if (typeof field.default === "string") input.after(create("span", { text: t("Without a file: {name}", { name: field.default }) }));
  return {
    ...frame,
    value: async () => {
      const file = input.files?.[0];
      if (!file) return undefined;
      if (file.size > MOST_FILE) throw new Refused(t("it has more than {count} MB; upload it to /api/v2/assets, and send its id", { count: MOST_FILE / 1e6 }), 413, field.name);
      return readAsDataUri(file);
    },
  };
}

/** @param {File} file @returns {Promise<string>} */
function readAsDataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Error(t("The file {name} cannot be read", { name: file.name })));
    reader.readAsDataURL(file);
  });
}

/** @param {Comfy} comfy @param {Field} field @returns {Control} */
function createLoras(comfy, field) {
  const given = Array.isArray(field.default) ? field.default.filter(isObject) : [];
  const before = JSON.stringify(given);
  /** @type {Record<string, unknown>[]} */
  let rows = given.map((row) => ({ ...row }));
  const list = create("div", { role: "list", "aria-label": field.title });
  const add = create("button", {
    type: "button", class: "lorchestra-button", text: t("Add a LoRA"), "data-field": field.name, style: "margin-top:4px;align-self:start",
    onclick: () => openPicker(comfy, { anchor: add, onChoose: (model) => {
      rows = [...rows, { model, weight: DEFAULT_WEIGHT }];
      show();
      add.focus();
    } }),
  });
  const inner = create("div", { class: "lorchestra-publish-field", style: "margin-top:0" }, list, add);
  const frame = framed(field, add, inner, labelOf(field));

  const show = () => {
    list.replaceChildren(...rows.map((row, index) => {
      const choose = create("button", {
        type: "button", class: "lorchestra-button", text: String(row.model ?? ""), title: String(row.model ?? ""),
        onclick: () => openPicker(comfy, { anchor: choose, current: String(row.model ?? ""), onChoose: (model) => {
          rows[index] = { ...row, model };
          show();
        } }),
      });
      const weight = create("input", {
        class: "lorchestra-field", type: "number", step: 0.05, value: String(row.weight ?? DEFAULT_WEIGHT),
        "aria-label": t("Weight of {name}", { name: String(row.model ?? "") }),
        onchange: () => { rows[index].weight = typedValue({ ...field, control: "number" }, weight.value); },
      });
      const remove = create("button", {
        type: "button", class: "lorchestra-publish-icon", title: t("Remove"), "aria-label": t("Remove {name}", { name: String(row.model ?? "") }),
        onclick: () => {
          rows = rows.filter((_, at) => at !== index);
          show();
          add.focus();
        },
      }, icon(ICONS.cross));
      return create("div", { class: "lorchestra-publish-lora", role: "listitem" }, choose, weight, remove);
    }));
    add.disabled = rows.length >= field.most;
  };
  show();
  return {
    element: frame.element,
    complain: (text, row) => {
      frame.complain(text);
      const at = row === undefined ? null : list.children[row];
      [...list.children].forEach((one) => one.querySelectorAll(":is(button,input)").forEach((part) => setAttribute(part, "aria-invalid", one === at && text ? true : null)));
      if (text && at) /** @type {HTMLElement | null} */ (at.querySelector("button"))?.focus();
    },
    value: async () => (JSON.stringify(rows) === before && !field.required ? undefined : rows),
  };
}
