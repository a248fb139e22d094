// @ts-check
/**
 * Widgets of nodes inside a subgraph that the subgraph's own nodes show outside: their values, and taking them away
 * where nothing inside has them any more. ComfyUI runs what the outer node holds; the inner widget's value is not used.
 */

import { hostsOf, INSIDE, linkOf } from "../base/graph.mjs";
import { hasOrigin } from "./links.mjs";

/** @import { Graph, GraphNode, SubgraphSlot } from "../types.d.ts" */

const DEEPEST = 16; // subgraphs inside subgraphs

/**
 * @typedef {object} Promoted an input of a subgraph that sets a node's widget
 * @property {string} name of the widget
 * @property {Graph} graph
 * @property {SubgraphSlot} slot
 */

/**
 * @typedef {object} Outside
 * @property {unknown[]} values one for each node outside that holds one
 * @property {boolean} linked whether any of them gets it through a link
 */

/** @typedef {Map<Graph, {slots: SubgraphSlot[], removed: Set<number>}>} Removed the inputs that each graph had, and which are gone */

/**
 * @param {GraphNode} node
 * @returns {{input: string, promoted: Promoted, outside: Outside}[]} the node's widgets that are shown outside
 */
export function promotedWidgets(node) {
  const { graph } = node;
  if (!graph) return [];
  const found = (node.inputs ?? []).flatMap((input) => {
    const link = input.widget && linkOf(graph, input.link);
    const slot = link && Number(link.origin_id) === INSIDE && graph.inputs?.[link.origin_slot];
    return slot ? [{ input, slot, index: link.origin_slot }] : [];
  });
  if (!found.length) return [];
  const hosts = hostsOf(graph.rootGraph ?? graph);
  return found.map(({ input, slot, index }) => {
    const name = input.widget?.name ?? input.name;
    return { input: input.name, promoted: { name, graph, slot }, outside: outsideOf(hosts, graph, index, 0) };
  });
}

/**
 * @param {Map<Graph, GraphNode[]>} hosts of all subgraphs
 * @param {Graph} graph
 * @param {number} slot
 * @param {number} depth
 * @returns {Outside}
 */
function outsideOf(hosts, graph, slot, depth) {
  const each = (hosts.get(graph) ?? []).map((host) => {
    const input = host.inputs?.[slot];
    const link = input && linkOf(host.graph, input.link);
    if (link && host.graph && hasOrigin(host.graph, link)) {
      if (Number(link.origin_id) !== INSIDE || depth >= DEEPEST) return { values: [], linked: true };
      return outsideOf(hosts, host.graph, link.origin_slot, depth + 1);
    }
    const widget = input && host.widgets?.find((one) => one.name === (input.widget?.name ?? input.name));
    return { values: widget ? [widget.value] : [], linked: false };
  });
  return { values: each.flatMap(({ values }) => values), linked: each.some(({ linked }) => linked) };
}

/**
 * Takes inputs of subgraphs away that lead nowhere any more, and with them the widgets outside.
 * @param {Promoted[]} promoted
 * @returns {{removed: Removed, names: string[], kept: string[]}} what outer nodes have lost; what they still have for others
 */
export function removePromoted(promoted) {
  /** @type {Removed} */
  const removed = new Map();
  /** @type {string[]} */
  const names = [];
  /** @type {string[]} */
  const kept = [];
  const waiting = promoted.map(({ graph, slot }) => ({ graph, slot }));
  for (const { graph, slot } of waiting) {
    const index = graph.inputs?.indexOf(slot) ?? -1;
    if (index < 0) continue; // two widgets had it
    if (!graph.removeInput || slot.linkIds.some((id) => linkOf(graph, id))) {
      kept.push(slot.name);
      continue;
    }
    for (const host of hostsOf(graph.rootGraph ?? graph).get(graph) ?? []) {
      const link = linkOf(host.graph, host.inputs?.[index]?.link);
      const outer = link && Number(link.origin_id) === INSIDE && host.graph?.inputs?.[link.origin_slot];
      if (outer && host.graph) waiting.push({ graph: host.graph, slot: outer });
    }
    const before = removed.get(graph) ?? { slots: [...(graph.inputs ?? [])], removed: new Set() };
    before.removed.add(before.slots.indexOf(slot));
    removed.set(graph, before);
    graph.removeInput(slot);
    names.push(slot.name);
  }
  return { removed, names, kept };
}
