// @ts-check
/** Whether a conversion has left all links as they were, but for those that are now the LoRA Stack's. Plain data. */

import { INSIDE } from "../base/graph.mjs";
import { inputOf, outputOf, startKey, withKeys } from "./links.mjs";

/** @import { Graph, GraphNode } from "../types.d.ts" */

/**
 * @typedef {import("./links.mjs").Wire} Wire
 * @typedef {import("./plan.mjs").Plan} Plan
 * @typedef {import("./promoted.mjs").Removed} Removed
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
 * All links of a graph as they should be after inputs of subgraphs have gone: its own, if it is one, and those of its
 * nodes that stand for one.
 * @param {Wire[]} wires
 * @param {Graph} graph
 * @param {Removed} removed
 * @returns {Wire[]}
 */
export function wiresWithout(wires, graph, removed) {
  const own = removed.get(graph)?.removed;
  return withKeys(wires.flatMap((wire) => {
    const [origin, slot] = [wire.from.slice(0, wire.from.lastIndexOf(".")), Number(wire.from.slice(wire.from.lastIndexOf(".") + 1))];
    const start = own && Number(origin) === INSIDE ? moved(slot, own) : slot;
    const atNode = wire.node?.subgraph && removed.get(wire.node.subgraph)?.removed;
    const end = atNode ? moved(wire.slot, atNode) : wire.slot;
    return start === undefined || end === undefined ? [] : [{ ...wire, slot: end, from: `${origin}.${start}` }];
  }));
}

/** @param {number} slot @param {Set<number>} removed @returns {number | undefined} where it is now */
function moved(slot, removed) {
  return removed.has(slot) ? undefined : slot - [...removed].filter((other) => other < slot).length;
}

/**
 * The values that subgraphs' nodes show outside, by node and widget.
 * @param {Iterable<GraphNode>} hosts
 * @returns {Map<GraphNode, Map<string, unknown>>}
 */
export function shownValues(hosts) {
  return new Map([...hosts].map((host) => [host, new Map((host.widgets ?? []).map(({ name, value }) => [name, value]))]));
}

/**
 * The values that are others than before, or have gone without their inputs.
 * @param {Map<GraphNode, Map<string, unknown>>} before
 * @param {Map<GraphNode, Map<string, unknown>>} now
 * @param {Removed} removed
 * @returns {string[]} as people read them
 */
export function otherValues(before, now, removed) {
  return [...before].flatMap(([host, values]) => {
    const gone = host.subgraph && removed.get(host.subgraph);
    const names = new Set(gone ? gone.slots.filter((_, index) => gone.removed.has(index)).map(({ name }) => name) : []);
    return [...values].filter(([name, value]) => !names.has(name) && !Object.is(now.get(host)?.get(name), value))
      .map(([name]) => `${host.title || host.type} (#${host.id}): ${name}`);
  });
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
