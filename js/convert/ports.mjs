// @ts-check
/** The inputs and outputs of known nodes, found by their types and names. */

import { inputLike, outputOf, sourceOf, targetsOf } from "./links.mjs";

/** @import { GraphNode, OutputSlot } from "../types.d.ts" */

/** @param {GraphNode} node */
export function modelInput(node) { return inputLike(node, "MODEL", /^model$/i); }

/** @param {GraphNode} node */
export function clipInput(node) { return inputLike(node, "CLIP", /^(optional_)?clip$/i); }

/** @param {GraphNode} node */
export function stackInput(node) { return inputLike(node, "LORA_STACK", /^(optional_)?lora_stack$/i); }

/** @param {GraphNode} node @param {number} slot */
export function sourceAt(node, slot) { return slot < 0 ? null : sourceOf(node, slot); }

/** @param {GraphNode} node @param {string} type */
export function targetsAt(node, type) {
  const slot = outputOf(node, type);
  return slot < 0 ? [] : targetsOf(node, slot);
}

/**
 * The outputs in use but for the first one of each of these types.
 * @param {GraphNode} node
 * @param {string[]} kept types
 * @returns {OutputSlot[]}
 */
export function otherOutputs(node, kept) {
  const known = kept.map((type) => outputOf(node, type));
  return (node.outputs ?? []).filter((_, slot) => !known.includes(slot) && targetsOf(node, slot).length);
}
