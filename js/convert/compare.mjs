// @ts-check
/** Whether a conversion has left all links as they were, but for those that are now the LoRA Stack's. Plain data. */

import { inputOf, outputOf, startKey, withKeys } from "./links.mjs";

/** @import { GraphNode } from "../types.d.ts" */

/**
 * @typedef {import("./links.mjs").Wire} Wire
 * @typedef {import("./plan.mjs").Plan} Plan
 */

/**
 * All links of the graph as they should be after the conversion.
 * @param {Wire[]} before as they were
 * @param {Plan} plan
 * @param {GraphNode} stack the LoRA Stack that takes the nodes' place, or gets their rows
 * @returns {Wire[]}
 */
export function expectedWires(before, plan, stack) {
  const leaving = new Set([...plan.loaders, ...plan.stackers].map((node) => String(node.id)));
  /** @type {Map<string, string>} */
  const taken = new Map();
  for (const { key } of plan.models) taken.set(key, startKey(stack, outputOf(stack, "MODEL")));
  for (const { key } of plan.clips) taken.set(key, startKey(stack, outputOf(stack, "CLIP")));
  const kept = before.map((wire) => ({ ...wire, from: taken.get(wire.key) ?? wire.from }))
    .filter(({ from, node }) => !leaving.has(from.slice(0, from.lastIndexOf("."))) && !leaving.has(String(node?.id)));
  for (const [type, source] of /** @type {const} */ ([["MODEL", plan.model], ["CLIP", plan.clip], ["LORA_STACK", plan.stack]])) {
    if (source) kept.push({ id: 0, key: "", node: stack, slot: inputOf(stack, type), from: startKey(source.node, source.slot) });
  }
  return withKeys(kept);
}

/**
 * What is not as it should be.
 * @param {Wire[]} expected
 * @param {Wire[]} after
 * @returns {string[]} the ends of these links, as people read them
 */
export function otherWires(expected, after) {
  const [before, now] = [expected, after].map((wires) => new Map(wires.map((wire) => [wire.key, wire])));
  const all = [...new Map([...before, ...now]).values()];
  return all.filter(({ key }) => before.get(key)?.from !== now.get(key)?.from).map(nameOf);
}

/** @param {Wire} wire */
function nameOf({ node, slot }) {
  return node ? `${node.title || node.type} (#${node.id}): ${node.inputs?.[slot]?.name ?? slot}` : `#${slot}`;
}
