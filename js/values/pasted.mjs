// @ts-check
/** Whether a pasted text may hold rows. Python reads them; this only saves asking about all else that people paste. */

import { isObject } from "./json.mjs";
import { MAX_TEXT } from "./limits.mjs";

const TAG = /(?:<|＜|&lt;)\s*(?:lora|lyco|loractl)\s*[:：][^<>＜＞]+?(?:>|＞|&gt;)/i; // <lora:pixel:0.7>

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
