// @ts-check
/** The links of a node in ComfyUI's graph, and putting them onto another node; also those to a subgraph's own slots. */

import { linkOf } from "../base/graph.mjs";

/** @import { GraphNode } from "../types.d.ts" */

/**
 * @typedef {object} Source where a link comes from
 * @property {GraphNode | undefined} node undefined for an input of the subgraph
 * @property {number} slot
 * @property {number} [reroute] the last one on its way, if any
 */

/**
 * @typedef {object} Target where a link goes
 * @property {GraphNode | undefined} node undefined for an output of the subgraph
 * @property {number} slot
 * @property {number} [reroute]
 */

/**
 * @param {GraphNode} node
 * @param {string} type e.g. MODEL
 * @returns {number} the first input that takes it and is no widget's; -1 without
 */
export function inputOf(node, type) {
  return (node.inputs ?? []).findIndex((slot) => slot.type === type && !slot.widget);
}

/**
 * Inputs of an unknown type are found by their name: packs that take any input save `*`.
 * @param {GraphNode} node
 * @param {string} type
 * @param {RegExp} name
 */
export function inputLike(node, type, name) {
  const byType = inputOf(node, type);
  return byType >= 0 ? byType : (node.inputs ?? []).findIndex((slot) => slot.type === "*" && name.test(slot.name));
}

/**
 * @param {GraphNode} node
 * @param {string} type
 * @returns {number}
 */
export function outputOf(node, type) {
  return (node.outputs ?? []).findIndex((slot) => slot.type === type);
}

/**
 * @param {GraphNode} node
 * @param {number} slot
 * @returns {Source | null}
 */
export function sourceOf(node, slot) {
  const link = linkOf(node.graph, node.inputs?.[slot]?.link);
  if (!link) return null;
  const from = node.graph?.getNodeById(link.origin_id) ?? undefined;
  return { node: from, slot: link.origin_slot, reroute: link.parentId };
}

/**
 * @param {GraphNode} node
 * @param {number} slot
 * @returns {Target[]}
 */
export function targetsOf(node, slot) {
  const ids = node.outputs?.[slot]?.links ?? [];
  return ids.map((id) => linkOf(node.graph, id)).filter((link) => link !== undefined).map((link) => ({
    node: node.graph?.getNodeById(link.target_id) ?? undefined, slot: link.target_slot, reroute: link.parentId,
  }));
}

/**
 * @param {Source} source
 * @param {GraphNode} node
 * @param {number} slot
 */
export function connectSource(source, node, slot) {
  if (slot < 0) return;
  if (source.node) source.node.connect(source.slot, node, slot, source.reroute);
  else node.graph?.inputs?.[source.slot]?.connect(node.inputs[slot], node, source.reroute);
}

/**
 * Takes the place of whatever was linked to the target.
 * @param {GraphNode} node
 * @param {number} slot
 * @param {Target} target
 */
export function connectTarget(node, slot, target) {
  if (slot < 0) return;
  if (target.node) node.connect(slot, target.node, target.slot, target.reroute);
  else node.graph?.outputs?.[target.slot]?.connect(node.outputs[slot], node, target.reroute);
}
