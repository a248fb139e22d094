// @ts-check
/** Rows from the clipboard and to it, also in the words of other programs; those are Python's to read and to write. */

import { create, ROOT_CLASS } from "../base/dom.mjs";
import { MAX_TEXT } from "../values/limits.mjs";
import { EMPTY, isObject, readStack, writeStack } from "../values/stack.mjs";
import { t } from "../base/words.mjs";
import { withListedNames } from "../values/names.mjs";
import { listLoras, post } from "../base/server.mjs";
import { tell } from "../base/toast.mjs";

/** @import { Comfy } from "../types.d.ts" */

const TAG = /<(?:lora|lyco):[^<>]+>/; // <lora:pixel:0.7>

/** What rows can be copied as: the server's word and ours. */
export const DIALECTS = [
  { id: "json", label: () => t("Lorchestra JSON") },
  { id: "a1111", label: () => t("<lora:…> text") },
  { id: "runware", label: () => t("Runware array") },
  { id: "rgthree", label: () => t("Power Lora Loader rows (rgthree)") },
  { id: "lora-manager", label: () => t("LoRA-Manager rows") },
];

/**
 * Whether a text is worth asking the server about: our JSON, a Runware array or request, `<lora:…>` text, or rows of
 * rgthree's or LoRA-Manager's. Quick, and no for workflows and all else that people paste.
 * @param {string} text
 * @returns {boolean}
 */
export function mayBeRows(text) {
  if (!text || text.length > MAX_TEXT) return false;
  const stripped = text.trim();
  if (/^[[{]/.test(stripped)) {
    try {
      return holdsRows(JSON.parse(stripped));
    } catch {
      return TAG.test(stripped); // a prompt may begin with a bracket
    }
  }
  return TAG.test(stripped);
}

/**
 * The rows in a pasted text, with what was lost on the way. What there is to tell is told in a toast.
 * @param {Comfy} comfy
 * @param {string} text
 * @returns {Promise<{rows: import("../values/stack.mjs").Row[], notes: string[]} | null>} null when there are none
 */
export async function readPasted(comfy, text) {
  if (!mayBeRows(text)) return null;
  /** @type {{loras?: import("../values/stack.mjs").Row[], notes?: string[]}} */
  let answer;
  let listed;
  try {
    [answer, listed] = await Promise.all([post(comfy, "/lorchestra/read", { text }), listLoras(comfy)]);
  } catch (error) {
    tell(comfy.app, "error", t("The LoRAs could not be pasted"), [/** @type {Error} */ (error).message]);
    return null;
  }
  const named = withListedNames(Array.isArray(answer.loras) ? answer.loras : [], listed);
  const notes = [...(answer.notes ?? []), ...named.notes];
  if (!named.rows.length) {
    tell(comfy.app, "warn", t("There are no LoRAs in the text"), notes);
    return null;
  }
  if (notes.length) tell(comfy.app, "info", t("Pasted, with these notes"), notes);
  return { rows: named.rows, notes };
}

/**
 * Puts rows into the clipboard. What the dialect cannot say, and what it refuses, is told in a toast.
 * @param {Comfy} comfy
 * @param {import("../values/stack.mjs").Row[]} rows
 * @param {string} dialect one of `DIALECTS`
 * @returns {Promise<boolean>} whether the clipboard has them
 */
export async function copyAs(comfy, rows, dialect) {
  let answer;
  try {
    answer = dialect === "json" // as it stands in the widget, without asking anybody
      ? { text: writeStack(readStack(EMPTY), rows), losses: [] }
      : await post(comfy, "/lorchestra/write", { loras: { version: 1, loras: rows }, as: dialect });
  } catch (error) {
    tell(comfy.app, "error", t("The LoRAs could not be copied"), [/** @type {Error} */ (error).message]);
    return false;
  }
  if (!(await writeText(answer.text))) {
    tell(comfy.app, "error", t("The browser does not allow copying"));
    return false;
  }
  const count = rows.length;
  const summary = count === 1 ? t("Copied 1 LoRA") : t("Copied {count} LoRAs", { count });
  const losses = Array.isArray(answer.losses) ? answer.losses : [];
  if (losses.length) tell(comfy.app, "warn", summary, [t("Not said in this format:"), ...losses]);
  else tell(comfy.app, "success", summary);
  return true;
}

/**
 * Pages that are not served safely have no clipboard but the old one.
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function writeText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const area = create("textarea", { class: `${ROOT_CLASS} lorchestra-hidden`, value: text, "aria-hidden": true });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus?.({ preventScroll: true });
    return done;
  }
}

/**
 * @param {unknown} data parsed JSON
 * @param {number} [depth]
 * @returns {boolean}
 */
function holdsRows(data, depth = 0) {
  if (depth > 4) return false;
  if (Array.isArray(data)) return data.length > 0 && data.every((one) => isRow(one) || isTask(one));
  if (!isObject(data)) return false;
  if (Array.isArray(data.nodes)) return false; // a workflow
  if (isRow(data) || isTask(data)) return true;
  if ("loras" in data) return Array.isArray(data.loras) && (holdsRows(data.loras, depth + 1) || "version" in data);
  if ("__value__" in data) return holdsRows(data.__value__, depth + 1);
  return Object.entries(data).some(([key, value]) => /^lora_\d+$/i.test(key) && isRow(value));
}

/** @param {unknown} row ours, Runware's, rgthree's or LoRA-Manager's; or a LORA_STACK triple */
function isRow(row) {
  if (Array.isArray(row)) return row.length === 3 && typeof row[0] === "string" && row.slice(1).every((one) => typeof one === "number");
  if (!isObject(row)) return false;
  if ("lora" in row) return typeof row.lora === "string" || (row.lora === null && "strength" in row);
  if (typeof row.name === "string") return "strength" in row;
  return typeof row.model === "string" && ("weight" in row || /^[\w-]+:[^\s:@]+@[^\s:@]+$|^urn:air:/i.test(row.model));
}

/** @param {unknown} task of a Runware request */
function isTask(task) {
  if (!isObject(task)) return false;
  const rows = task.lora ?? (typeof task.taskType === "string" ? [] : null);
  return Array.isArray(rows) && (typeof task.taskType === "string" || rows.some(isRow));
}
