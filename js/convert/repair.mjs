// @ts-check
/**
 * Mends what files say wrongly of links, where ComfyUI would break other links over it when nodes are connected or
 * removed.
 */

import { linkOf, nodesOf } from "../base/graph.mjs";
import { isObject } from "../values/json.mjs";

/** @import { Graph, GraphNode, Links } from "../types.d.ts" */

/**
 * Lets a node's slots name only links that are theirs. An output may name one that begins elsewhere: ComfyUI would take
 * that one away together with the node.
 * @param {GraphNode} node
 */
export function dropOthersLinks(node) {
  (node.outputs ?? []).forEach((output, slot) => {
    const ids = output.links ?? [];
    const own = ids.filter((id) => {
      const link = linkOf(node.graph, id);
      return link && String(link.origin_id) === String(node.id) && link.origin_slot === slot && isTaken(node.graph, id);
    });
    if (own.length < ids.length) output.links = own;
  });
  (node.inputs ?? []).forEach((_, slot) => dropOthersLink(node, slot));
}

/**
 * The same for one input.
 * @param {GraphNode} node
 * @param {number} slot
 */
export function dropOthersLink(node, slot) {
  const input = node.inputs?.[slot];
  const link = linkOf(node.graph, input?.link);
  if (link && (String(link.target_id) !== String(node.id) || link.target_slot !== slot)) input.link = null;
}

/** Whether the end of a link knows it. @param {Graph | null | undefined} graph @param {number} id */
function isTaken(graph, id) {
  const link = linkOf(graph, id);
  const target = link && graph?.getNodeById(link.target_id);
  if (target) return target.inputs?.[link.target_slot]?.link === id;
  return Boolean(link && graph?.outputs?.[link.target_slot]?.linkIds.includes(id));
}

/**
 * New links get numbers above all that there are; some files count them too low, and new links would replace others.
 * @param {Graph} graph
 */
export function countLinks(graph) {
  const ids = [...idsIn(graph.links), ...idsIn(graph._links)];
  for (const node of nodesOf(graph)) {
    for (const input of node.inputs ?? []) ids.push(input.link ?? 0);
    for (const output of node.outputs ?? []) ids.push(...(output.links ?? []));
  }
  for (const slot of [...(graph.inputs ?? []), ...(graph.outputs ?? [])]) ids.push(...slot.linkIds);
  const highest = ids.reduce((most, id) => (Number.isSafeInteger(id) && id > most ? id : most), 0);
  if (graph.state && Number(graph.state.lastLinkId) < highest) graph.state.lastLinkId = highest;
}

/** @param {Links | undefined} links @returns {number[]} */
function idsIn(links) {
  const { keys } = /** @type {Partial<Map<number, unknown>>} */ (links ?? {});
  return [...(keys?.call(links) ?? Object.keys(links ?? {}))].map(Number);
}

/**
 * Nodes whose pack is not installed are saved as they were loaded, with links that are no longer there; such a workflow
 * cannot be run or opened any more. Their saved slots get the links of now.
 * @param {Graph} graph
 */
export function updatePlaceholders(graph) {
  for (const node of nodesOf(graph)) {
    const saved = node.last_serialization;
    if (!saved) continue;
    const inputs = saved.inputs?.map((slot, index) => ({ ...slot, link: slotAt(node.inputs, slot, index)?.link ?? null }));
    const outputs = saved.outputs?.map((slot, index) => ({ ...slot, links: [...(slotAt(node.outputs, slot, index)?.links ?? [])] }));
    node.last_serialization = { ...saved, ...(inputs && { inputs }), ...(outputs && { outputs }) };
  }
}

/**
 * @template {{name: string}} Slot
 * @param {Slot[] | undefined} slots
 * @param {{name: string}} saved
 * @param {number} index
 * @returns {Slot | undefined}
 */
function slotAt(slots, saved, index) {
  return slots?.[index]?.name === saved.name ? slots[index] : slots?.find((slot) => slot.name === saved.name);
}

/**
 * Gives widgets of a node other values, also where its pack is not installed and it is saved as it was loaded.
 * @param {GraphNode} node
 * @param {string[]} names of its widgets by position
 * @param {Record<string, unknown>} values by name
 */
export function setWidgets(node, names, values) {
  for (const widget of node.widgets ?? []) if (Object.hasOwn(values, widget.name)) widget.value = values[widget.name];
  const saved = node.last_serialization;
  if (!saved) return;
  const { widgets_values: list, widgets_values_named: named } = saved;
  const changed = Array.isArray(list) ? list.map((value, index) => values[names[index]] ?? value) : isObject(list) ? { ...list, ...values } : list;
  node.last_serialization = { ...saved, widgets_values: changed, ...(named && { widgets_values_named: { ...named, ...values } }) };
}
