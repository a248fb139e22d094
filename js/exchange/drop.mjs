// @ts-check
/**
 * What is dropped on a LoRA Stack: LoRAs of our library, and pictures with the LoRAs that A1111, Forge, Fooocus or SwarmUI
 * wrote into them.
 */

import { tell } from "../base/toast.mjs";
import { t } from "../base/words.mjs";
import { newRows } from "../stack/defaults.mjs";
import { lorasWidget } from "../stack/node.mjs";
import { textsOf } from "../values/json.mjs";
import { MAX_ROWS } from "../values/limits.mjs";
import { findParameters, PICTURES } from "../values/pictures.mjs";
import { readPasted } from "./clipboard.mjs";
import { appendRows } from "./paste.mjs";

/** @import { Comfy, HookedNode } from "../types.d.ts" */

const MAX_PICTURE = 200_000_000; // bytes
const MAX_PICTURES = 20; // of one drop

/**
 * @param {DragEvent} event
 * @returns {boolean} whether pictures are dragged here; what is in them, only the drop tells
 */
export function hasPictures(event) {
  return [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file" && PICTURES.includes(item.type));
}

/** What is dragged out of the library: a JSON list of names. */
export const LORAS_DRAG = "application/x-lorchestra-loras";

/** @param {DragEvent} event */
export function hasLoras(event) {
  return event.dataTransfer?.types.includes(LORAS_DRAG) ?? false;
}

/**
 * @param {DragEvent} event that drops
 * @returns {string[]} names
 */
export function lorasIn(event) {
  try {
    return textsOf(JSON.parse(event.dataTransfer?.getData(LORAS_DRAG) ?? "")).slice(0, MAX_ROWS);
  } catch { // another page's
    return [];
  }
}

/**
 * Lets the node take both on its title; its list hears them itself.
 * @param {Comfy} comfy
 * @param {HookedNode} node
 */
export function installDrop(comfy, node) {
  node.onDragOver = (event) => hasPictures(event) || hasLoras(event);
  node.onDragDrop = async (event) => {
    if (!lorasWidget(node)) return false;
    if (hasLoras(event)) {
      await appendRows(comfy, node, newRows(comfy.app, lorasIn(event)));
      return true;
    }
    if (!hasPictures(event)) return false;
    await readDropped(comfy, event, (rows) => appendRows(comfy, node, rows));
    return true;
  };
}

/**
 * Reads the LoRAs of the pictures that were dropped. What cannot be read is told in a toast; ComfyUI's own pictures are
 * opened as ComfyUI opens them.
 * @param {Comfy} comfy
 * @param {DragEvent} event
 * @param {(rows: import("../values/stack.mjs").Row[]) => void | Promise<void>} append takes the rows of one picture
 */
export async function readDropped(comfy, event, append) {
  const files = [...(event.dataTransfer?.files ?? [])]; // the event forgets them after the first wait
  const pictures = files.filter((file) => PICTURES.includes(file.type)).slice(0, MAX_PICTURES);
  for (const file of pictures) {
    const found = await findIn(file);
    if (found.kind === "comfyui") await comfy.app.handleFile?.(file);
    else if (found.kind === "parameters") {
      const read = await readPasted(comfy, found.text, { isRows: true });
      if (read) await append(read.rows);
    } else {
      const why = found.kind === "none"
        ? t("It says nothing about LoRAs.")
        : t("It is damaged, or too large.");
      tell(comfy.app, "warn", t("There are no LoRAs in the picture"), [file.name, why]);
    }
  }
}

/** @param {File} file @returns {Promise<import("../values/png.mjs").Found>} */
async function findIn(file) {
  if (file.size > MAX_PICTURE) return { kind: "damaged" };
  try {
    return await findParameters(new Uint8Array(await file.arrayBuffer()));
  } catch { // it cannot be read any more
    return { kind: "damaged" };
  }
}
