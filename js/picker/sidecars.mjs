// @ts-check
/** What people say of LoRAs, written into the sidecars of our own beside the files. */

import { ask } from "../base/server.mjs";
import { tell } from "../base/toast.mjs";
import { t } from "../base/words.mjs";
import { libraryOf } from "./library.mjs";

/** @import { Comfy } from "../types.d.ts" */

/** @typedef {{trigger_words?: string[] | null, notes?: string | null, weight?: number | null, favourite?: boolean | null}} Changes */

/**
 * Writes them, and asks for the list anew. What could not be written is told in a toast.
 * @param {Comfy} comfy
 * @param {string[]} names
 * @param {Changes} changes null takes one away
 * @returns {Promise<string[]>} the sidecars that were written
 */
export async function writeSidecars(comfy, names, changes) {
  const library = libraryOf(comfy);
  try {
    const answer = await ask(comfy, "/lorchestra/edit", { loras: names, changes });
    const { written, problems } = /** @type {{written: string[], problems: {lora: string, error: string}[]}} */ (answer);
    if (problems.length) tell(comfy.app, "error", t("Not everything could be saved"), problems.map(({ error }) => error));
    await library.retry();
    return written;
  } catch (error) {
    tell(comfy.app, "error", t("Not everything could be saved"), [/** @type {Error} */ (error).message]);
    return [];
  }
}
