// @ts-check
/** Rows from the clipboard and to it, also in the words of other programs; those are Python's to read and to write. */

import { writeToClipboard } from "../base/clipboard.mjs";
import { ask, listLoras } from "../base/server.mjs";
import { remember, setting } from "../base/settings.mjs";
import { tell } from "../base/toast.mjs";
import { asSentence, t } from "../base/words.mjs";
import { identitiesOf } from "../saving/identities.mjs";
import { learnRows } from "../saving/learn.mjs";
import { splitName } from "../values/numbers.mjs";
import { withListedNames } from "../values/names.mjs";
import { isInfotext, mayBeRows } from "../values/pasted.mjs";
import { EMPTY, failed, readStack, told, writeStack } from "../values/stack.mjs";
import { askAboutNames } from "./unnamed.mjs";

/** @import { Comfy } from "../types.d.ts" */

/** What rows can be copied as: the server's word and ours. */
export const DIALECTS = [
  { id: "json", label: () => t("JSON (Lorchestra)") },
  { id: "a1111", label: () => t("<lora:…> text (A1111, Forge)") },
  { id: "runware", label: () => t("Runware request") },
  { id: "comfyui", label: () => t("ComfyUI's own list of LoRAs") },
  { id: "rgthree", label: () => t("Power Lora Loader (rgthree)") },
  { id: "lora-manager", label: () => t("LoRA-Manager") },
  { id: "diffusers", label: () => t("Python (diffusers)") },
];

/**
 * The rows in a pasted text, with what was lost on the way. What there is to tell is told in a toast.
 * @param {Comfy} comfy
 * @param {string} text
 * @param {{ isRows?: boolean }} [known] whether it is known that the text is meant for us
 * @returns {Promise<{rows: import("../values/stack.mjs").Row[], more: Record<string, unknown>, notes: string[]} | null>} null
 *   when there are none; `more` are the groups that the rows are in
 */
export async function readPasted(comfy, text, { isRows = false } = {}) {
  if (!isRows && !mayBeRows(text)) return null;
  /** @type {{loras?: import("../values/stack.mjs").Row[], groups?: unknown, notes?: string[], ordered?: number | null}} */
  let answer;
  let listed;
  try {
    const chosen = isInfotext(text) ? "te-first" : setting(comfy.app, "tagOrder");
    const read = async (/** @type {string} */ order) =>
      /** @type {typeof answer} */ (await ask(comfy, "/lorchestra/read", { text, ...(order !== "ask" && { order }) }));
    [answer, listed] = await Promise.all([read(chosen), listLoras(comfy)]);
    const ordered = answer.ordered ? answer.loras?.[answer.ordered - 1] : undefined;
    if (ordered) {
      const { askAboutOrder } = await import("./order.mjs");
      const order = await askAboutOrder(ordered);
      if (!order) return null;
      remember(comfy.app, "tagOrder", order);
      if (order !== "te-first") answer = await read(order);
    }
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
  return { rows: named.rows, more: answer.groups ? { groups: answer.groups } : {}, notes };
}

/**
 * What a LoRA Stack's text holds; Python is asked where only it can tell.
 * @param {Pick<Comfy, "api">} comfy
 * @param {string} text
 * @returns {Promise<import("../values/stack.mjs").Stack>}
 */
export async function readWhole(comfy, text) {
  const stack = readStack(text);
  if (!stack.asks) return stack;
  try {
    const answer = /** @type {{loras?: import("../values/stack.mjs").Row[], notes?: string[]}} */ (
      await ask(comfy, "/lorchestra/read", { text, as_value: true })
    );
    return told(Array.isArray(answer.loras) ? answer.loras : [], answer.notes ?? []);
  } catch (error) {
    return failed(asSentence(/** @type {Error} */ (error).message));
  }
}

/**
 * Puts rows into the clipboard. What the dialect cannot store, and what it refuses, is told in a toast.
 * @param {Comfy} comfy
 * @param {import("../values/stack.mjs").Row[]} rows
 * @param {string} dialect one of `DIALECTS`
 * @param {Element} [anchor] where it is asked what becomes of rows without an AIR; without it, they are an error
 * @param {Record<string, unknown>} [more] what the rows' stack has besides, for our own form
 * @returns {Promise<boolean>} whether the clipboard has them
 */
export async function copyAs(comfy, rows, dialect, anchor, more = {}) {
  /** @type {Written} */
  let answer;
  let copied = rows;
  try {
    if (dialect === "json") { // as in a saved workflow: others find the files by hash and AIR
      const text = writeStack({ ...readStack(EMPTY), more: { groups: more.groups } }, rows);
      await learnRows(comfy, text);
      answer = { text: identitiesOf(comfy.app).completed(text) };
    } else {
      answer = await write(comfy, rows, dialect, { asks: Boolean(anchor) });
      const unnamed = new Set(answer.unnamed?.map((row) => row - 1));
      if (anchor && unnamed.size) {
        const names = rows.filter((_, index) => unnamed.has(index)).map(({ lora }) => splitName(lora).title);
        const choice = await askAboutNames(anchor, names, unnamed.size < rows.length);
        if (!choice) return false;
        if (choice === "out") copied = rows.filter((_, index) => !unnamed.has(index));
        answer = await write(comfy, copied, dialect, { allow_names: choice === "names" });
      }
    }
  } catch (error) {
    tell(comfy.app, "error", t("The LoRAs could not be copied"), [/** @type {Error} */ (error).message]);
    return false;
  }
  if (!(await writeToClipboard(answer.text ?? ""))) {
    tell(comfy.app, "error", t("The browser does not allow copying"));
    return false;
  }
  const count = copied.length;
  const summary = count === 1 ? t("Copied 1 LoRA") : t("Copied {count} LoRAs", { count });
  const losses = Array.isArray(answer.losses) ? answer.losses : [];
  if (losses.length) tell(comfy.app, "warn", summary, [t("This format can't store:"), ...losses]);
  else tell(comfy.app, "success", summary);
  return true;
}

/** @typedef {{text?: string, losses?: string[], unnamed?: number[]}} Written with the numbers of rows that it asks about */

/**
 * @param {Comfy} comfy
 * @param {import("../values/stack.mjs").Row[]} rows
 * @param {string} dialect
 * @param {Record<string, boolean>} options
 * @returns {Promise<Written>}
 */
async function write(comfy, rows, dialect, options) {
  const loras = { version: 1, loras: rows };
  return /** @type {Written} */ (await ask(comfy, "/lorchestra/write", { loras, as: dialect, ...options }));
}
