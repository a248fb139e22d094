// @ts-check
/** Whether a pasted text may hold rows. Python reads them; this only saves asking about all else that people paste. */

import { isObject } from "./json.mjs";
import { MAX_TEXT } from "./limits.mjs";

const TAG = /(?:<|＜|&lt;)\s*(?:lora|lyco|loractl)\s*[:：][^<>＜＞]+?(?:>|＞|&gt;)/i; // <lora:pixel:0.7>

const INFOTEXT = /^(?:Steps: \d+(?:,|[ \t]*$)|(?:Lora hashes|Lora weights|Hashes|Civitai resources): )/m;
const OTHER_TEXT = /\.load_lora_weights\s*\(|Recipe metadata: /; // a script for diffusers, a recipe of LoRA-Manager's

/** @param {string} text @returns {boolean} whether it is what A1111 and its relatives write into pictures */
export function isInfotext(text) {
  return INFOTEXT.test(text);
}

/**
 * Whether a text is worth asking the server about: rows of any program that `lorchestra/exchange/parse.py` recognises, a
 * request with them, or `<lora:…>` text. Quick, and no for workflows and all else that people paste.
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
      return isText(stripped); // a prompt may begin with a bracket
    }
  }
  return isText(stripped);
}

/** @param {string} text that is no JSON */
function isText(text) {
  return TAG.test(text) || INFOTEXT.test(text) || OTHER_TEXT.test(text);
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
  if (isRow(data) || isTask(data) || isRequest(data)) return true;
  if ("loras" in data) return Array.isArray(data.loras) && (holdsRows(data.loras, depth + 1) || "version" in data);
  for (const key of ["input", "extra_body", "meta"]) if (isObject(data[key])) return holdsRows(data[key], depth + 1);
  if (isObject(data.nodes)) return Object.values(data.nodes).some((node) => isObject(node) && isObject(node.lora));
  if (Array.isArray(data.steps)) return data.steps.some((step) => isObject(step) && holdsRows(step.input, depth + 1));
  if ("__value__" in data) return holdsRows(data.__value__, depth + 1);
  return Object.entries(data).some(([key, value]) => /^lora_\d+$/i.test(key) && isRow(value));
}

/** Field of a request that only one program has → what is in it. */
const FIELDS = new Map([
  ["additionalNetworks", isObject], ["image_loras", Array.isArray], ["lora_weights", isString], ["hf_loras", Array.isArray],
  ["lora_nickname", isNamed], ["lora_configs", Array.isArray], ["civitaiResources", Array.isArray],
  ["sui_image_params", isObject], ["loraweights", isNamed],
]);

/** @param {Record<string, unknown>} data whether it is a request, or a node of ComfyUI's own with rows */
function isRequest(data) {
  for (const [field, holds] of FIELDS) if (holds(data[field])) return true;
  if (Array.isArray(data.resources)) return data.resources.some(isRow);
  if (isObject(data.loras)) return Object.keys(data.loras).some((key) => AIR.test(key));
  if (isObject(data.lora)) return isString(data.lora.name) || isString(data.lora.path);
  if (Array.isArray(data.lora) && data.lora.length) return data.lora.every((one) => isObject(one) && isString(one.name));
  const prompt = isObject(data.prompt) ? data.prompt : data;
  return [data, ...Object.values(prompt)].some((node) => isObject(node) && [node, node.inputs].some(hasCoreRows));
}

/** @param {unknown} inputs whether they are of ComfyUI's LoadLoraModel: `loras.0.lora_name` */
function hasCoreRows(inputs) {
  return isObject(inputs) && Object.keys(inputs).some((key) => /^loras\.\d+\.(?:lora_name|strength|enabled)$/.test(key));
}

/** @param {unknown} value */
function isString(value) {
  return typeof value === "string";
}

/** @param {unknown} value */
function isNamed(value) {
  return isString(value) || (Array.isArray(value) && value.length > 0);
}

const AIR = /^[\w-]+:[^\s:@]+@[^\s:@]+$|^urn:air:/i; // civitai:120096@135931
const FILES = ["path", "file", "file_name", "air"]; // what a file is called in rows of others

/** @param {unknown} row of a program that is recognised; or a LORA_STACK triple */
function isRow(row) {
  if (Array.isArray(row)) return row.length === 3 && typeof row[0] === "string" && row.slice(1).every((one) => typeof one === "number");
  if (!isObject(row)) return false;
  if ("lora" in row) return typeof row.lora === "string" || (row.lora === null && "strength" in row);
  if (typeof row.type === "string" && ["modelVersionId", "air", "hash"].some((key) => key in row)) return true;
  if (typeof row.name === "string" && "strength" in row) return true;
  if (FILES.some((key) => isString(row[key]))) return ["scale", "weight", "strength"].some((key) => key in row);
  if (isObject(row.model)) return isString(row.model.name) && "weight" in row;
  return typeof row.model === "string" && ("weight" in row || AIR.test(row.model));
}

/** @param {unknown} task of a Runware request */
function isTask(task) {
  if (!isObject(task)) return false;
  const rows = task.lora ?? (typeof task.taskType === "string" ? [] : null);
  return Array.isArray(rows) && (typeof task.taskType === "string" || rows.some(isRow));
}
