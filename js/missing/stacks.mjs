// @ts-check
/** Every list of LoRAs in a workflow, also in subgraphs that were never opened, and changes of several at once. */

import { findPromoted } from "../badges/places.mjs";
import { asOneStep } from "../base/canvas.mjs";
import { BYPASSED, MUTED, nodesOf, rootOf, widgetNamed } from "../base/graph.mjs";
import { LORAS_TYPE } from "../stack/node.mjs";
import { adopting } from "../values/identity.mjs";
import { changed, readStack, toText, writeStack } from "../values/stack.mjs";

/** @import { App, Graph, GraphNode, Widget } from "../types.d.ts" */
/** @import { Candidate } from "../values/verdicts.mjs" */

const CHOICES = ["missing", "policy"];

/**
 * @typedef {object} StackInGraph
 * @property {GraphNode} node that shows the list
 * @property {Widget} widget
 * @property {boolean} active whether the node takes part in the prompt
 * @property {Record<string, unknown>} choices of the LoRA Stack: what becomes of rows that cannot be used
 */

/**
 * @param {App} app
 * @returns {StackInGraph[]} those whose rows do not come through a link
 */
export function stacksOf(app) {
  /** @type {StackInGraph[]} */
  const found = [];
  /** @type {Set<Graph>} */
  const seen = new Set();
  /** @param {Graph} graph @param {boolean} active */
  const walk = (graph, active) => {
    if (seen.has(graph)) return;
    seen.add(graph);
    for (const node of nodesOf(graph)) {
      const takesPart = active && node.mode !== MUTED && node.mode !== BYPASSED;
      for (const widget of listsOf(node)) {
        const inner = node.subgraph ? findPromoted([], node, widget.name)?.node : node;
        const choices = Object.fromEntries(CHOICES.map((name) => [name, inner && widgetNamed(inner, name)?.value]));
        found.push({ node, widget, active: takesPart, choices });
      }
      if (node.subgraph) walk(node.subgraph, takesPart);
    }
  };
  const root = rootOf(app);
  if (root) walk(root, true);
  return found;
}

/** @param {GraphNode} node @returns {Widget[]} */
function listsOf(node) {
  return (node.widgets ?? []).filter((widget) => widget.type === LORAS_TYPE
    && node.inputs?.find((input) => input.widget?.name === widget.name)?.link == null);
}

/**
 * @typedef {object} Choice
 * @property {StackInGraph} stack
 * @property {number} index of the row
 * @property {string} lora that the row names until now; another one is left alone
 * @property {Candidate} file
 */

/**
 * Lets rows name these files: one step of undo for each node.
 * @param {App} app
 * @param {Choice[]} choices
 * @returns {number} rows that were changed
 */
export function useFiles(app, choices) {
  let count = 0;
  for (const stack of new Set(choices.map((choice) => choice.stack))) {
    const mine = choices.filter((choice) => choice.stack === stack);
    const parsed = readStack(toText(stack.widget.value));
    const rows = parsed.rows.map((row, at) => {
      const choice = mine.find(({ index, lora }) => index === at && lora === row.lora);
      if (!choice) return row;
      count += 1;
      return changed(row, adopting(row, choice.file));
    });
    if (rows.some((row, at) => row !== parsed.rows[at])) {
      asOneStep(app, () => { stack.widget.value = writeStack(parsed, rows); });
      stack.node.setDirtyCanvas?.(true, true);
    }
  }
  return count;
}
