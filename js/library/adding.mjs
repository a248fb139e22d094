// @ts-check
/** LoRAs that become rows: on the stack that is meant, or on a new one. */

import { asOneStep, page } from "../base/canvas.mjs";
import { nodesOf } from "../base/graph.mjs";
import { tell } from "../base/toast.mjs";
import { t } from "../base/words.mjs";
import { hasLoras, lorasIn } from "../exchange/drop.mjs";
import { appendRows, selectedStack } from "../exchange/paste.mjs";
import { newRows } from "../stack/defaults.mjs";
import { lorasWidget, STACK } from "../stack/node.mjs";
import { EMPTY, readStack, writeStack } from "../values/stack.mjs";

/** @import { Comfy, GraphNode } from "../types.d.ts" */

const WIDTH = 400;

/**
 * Adds rows to the stack that is selected, else to the only one of the graph that is shown, else to a new one.
 * @param {Comfy} comfy
 * @param {string[]} names
 */
export async function addToWorkflow(comfy, names) {
  const { app } = comfy;
  const stacks = app.canvas.graph ? nodesOf(app.canvas.graph).filter(lorasWidget) : [];
  const node = selectedStack(app) ?? (stacks.length === 1 ? stacks[0] : undefined);
  if (node) await appendRows(comfy, node, newRows(app, names));
  else addStack(comfy, names, middleOf(app.canvas));
  tell(app, "success", names.length === 1 ? t("1 LoRA added") : t("{count} LoRAs added", { count: names.length }));
}

/**
 * Lets LoRAs be dropped on the canvas, and on nodes that the canvas draws.
 * @param {Comfy} comfy
 */
export function installCanvasDrop(comfy) {
  const { canvas } = comfy.app;
  canvas?.canvas?.addEventListener("dragover", (event) => { if (hasLoras(event)) event.preventDefault(); });
  canvas?.canvas?.addEventListener("drop", (event) => {
    if (!hasLoras(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const [x, y] = canvas.convertEventToCanvasOffset?.(event) ?? middleOf(canvas);
    const under = canvas.graph?.getNodeOnPos?.(x, y);
    const names = lorasIn(event);
    if (under && lorasWidget(under)) void appendRows(comfy, under, newRows(comfy.app, names));
    else addStack(comfy, names, [x, y]);
  });
}

/**
 * @param {Comfy} comfy
 * @param {string[]} names
 * @param {number[]} at on the canvas
 */
function addStack({ app }, names, [x, y]) {
  const node = page().LiteGraph?.createNode(STACK);
  const widget = node && lorasWidget(node);
  if (!node || !widget || !app.canvas.graph || !names.length) return;
  asOneStep(app, () => {
    node.pos = [x, y];
    app.canvas.graph?.add(node);
    widget.value = writeStack(readStack(EMPTY), newRows(app, names));
    node.setSize([Math.max(node.size[0], WIDTH), node.computeSize()[1]]);
    app.canvas.setDirty?.(true, true);
  });
}

/** @param {import("../types.d.ts").Canvas} canvas @returns {[number, number]} the middle of what is shown of the graph */
function middleOf({ canvas, ds }) {
  const { width, height } = canvas.getBoundingClientRect();
  const [left, top] = ds.offset ?? [0, 0];
  return [width / 2 / ds.scale - left - WIDTH / 2, height / 3 / ds.scale - top];
}
