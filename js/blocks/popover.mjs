// @ts-check
/** The editor of weights per block in a pop-up, for one row. */

import { writeToClipboard } from "../base/clipboard.mjs";
import { openPopup } from "../base/popup.mjs";
import { create } from "../base/dom.mjs";
import { ask } from "../base/server.mjs";
import { t } from "../base/words.mjs";
import { createBlockEditor } from "./editor.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @typedef {import("../values/blocks.mjs").Blocks} Blocks */

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {import("../base/popup.mjs").Anchor} options.anchor
 * @param {Blocks} options.blocks the row's
 * @param {() => Promise<import("./editor.mjs").Layout>} options.layout of the model, and what the row's LoRA changes in it
 * @param {(blocks: Blocks) => void} options.onChange while it may go on
 * @param {(blocks: Blocks) => void} options.onCommit when an edit is done; in one step of undo with its changes
 * @param {() => void} [options.onClose]
 * @returns {{close: () => void}}
 */
export function openBlocks(comfy, { anchor, blocks, layout, onChange, onCommit, onClose }) {
  const { app } = comfy;
  let current = blocks;
  let committed = blocks;
  const commit = () => {
    if (current === committed) return;
    committed = current;
    onCommit(current);
  };
  const editor = createBlockEditor({
    read: () => current,
    write(next) {
      if (JSON.stringify(next) === JSON.stringify(current)) return;
      current = next;
      onChange(next);
    },
    begin: () => app.canvas?.emitBeforeChange?.(),
    finish() {
      try {
        commit();
      } finally {
        app.canvas?.emitAfterChange?.();
      }
    },
    async ask() {
      const found = await layout();
      setTimeout(() => popup.place(), 0); // the size is another one now
      return found;
    },
    readVector: (text) => readVector(comfy, text),
    writeVector: (wanted) => writeVector(comfy, wanted),
    copy: (text) => writeToClipboard(text, popup.element),
  });
  const popup = openPopup({
    anchor,
    label: t("Weights per block of the row"),
    element: create("div", { class: "lorchestra-blocks-popover" }, editor.element),
    onClose: () => {
      editor.destroy();
      commit();
      onClose?.();
    },
  });
  return { close: popup.close };
}

/**
 * What A1111's extension writes: `lbw=1,0,…`, the numbers alone, a line of its presets, or a whole tag.
 * @param {Comfy} comfy
 * @param {string} text
 * @returns {Promise<Blocks>}
 */
async function readVector(comfy, text) {
  const stripped = text.trim();
  const vector = stripped.startsWith("<") ? stripped : `<lora:a:1:lbw=${(stripped.split(/[:=]/).at(-1) ?? "").trim()}>`;
  const { loras, notes } = /** @type {{loras: {blocks?: Blocks}[], notes: string[]}} */ (await ask(comfy, "/lorchestra/read", { text: vector, order: "te-first" }));
  const blocks = loras[0]?.blocks;
  if (notes.length && !blocks) throw new Error(notes[0].replace(/^[^:]*: /, ""));
  if (!loras.length) throw new Error(t("there are no weights per block in this text"));
  return blocks ?? {};
}

/**
 * @param {Comfy} comfy
 * @param {Blocks} blocks
 * @returns {Promise<string>} `lbw=1,0,…`
 */
async function writeVector(comfy, blocks) {
  const loras = [{ lora: "a", model: 1, blocks }];
  const { text } = /** @type {{text: string}} */ (await ask(comfy, "/lorchestra/write", { loras, as: "a1111", allow_names: true }));
  const vector = /lbw=[^:>]*/.exec(text)?.[0];
  if (!vector) throw new Error(t("no vector of A1111's says these weights; copy them as JSON"));
  return vector;
}
