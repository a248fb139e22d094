// @ts-check
/**
 * The links of a node in ComfyUI's graph, and putting them onto another node; also those to a subgraph's own slots.
 *
 * Files say each link up to three times, and not always the same. What counts is what ComfyUI runs: the link that an
 * input names, from where that link begins.
 */

import { INSIDE, linkOf, nodesOf } from "../base/graph.mjs";

/** @import { Graph, GraphNode, Link, SubgraphSlot } from "../types.d.ts" */


/**
 * @typedef {object} Source where a link comes from
 * @property {GraphNode | undefined} node undefined for an input of the subgraph
 * @property {number} slot
 * @property {number} [reroute] the last one on its way, if any
 */

/**
 * @typedef {object} Target where a link goes
 * @property {number} id of the link
 * @property {string} key the same for the same end of a link, as long as its node is there
 * @property {GraphNode | undefined} node undefined for an output of the subgraph
 * @property {number} slot
 * @property {number} [reroute]
 */

/** @typedef {Target & {from: string}} Wire a link with both ends */

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
 * All links of a graph that ComfyUI would follow.
 * @param {Graph} graph
 * @returns {Wire[]}
 */
export function wiresOf(graph) {
  /** @type {Wire[]} */
  const wires = [];
  const add = (/** @type {number | null} */ id, /** @type {GraphNode | undefined} */ node, /** @type {number} */ slot) => {
    const link = linkOf(graph, id);
    if (!link || !hasOrigin(graph, link)) return;
    wires.push({ id: link.id, key: "", node, slot, reroute: link.parentId, from: `${link.origin_id}.${link.origin_slot}` });
  };
  for (const node of nodesOf(graph)) (node.inputs ?? []).forEach((input, slot) => add(input.link, node, slot));
  (graph.outputs ?? []).forEach((output, slot) => { for (const id of linksInto(graph, output)) add(id, undefined, slot); });
  return withKeys(wires);
}

/**
 * Numbers the several links that a subgraph's output may have.
 * @param {Wire[]} wires
 * @returns {Wire[]}
 */
export function withKeys(wires) {
  /** @type {Map<number, number>} */
  const seen = new Map();
  return wires.map((wire) => {
    if (wire.node) return { ...wire, key: `${wire.node.id}.${wire.slot}` };
    const index = seen.get(wire.slot) ?? 0;
    seen.set(wire.slot, index + 1);
    return { ...wire, key: `out.${wire.slot}.${index}` };
  });
}

/**
 * Where an input's link begins, in the form of `Wire.from`.
 * @param {GraphNode | undefined} node undefined for an input of the subgraph
 * @param {number} slot
 */
export function startKey(node, slot) {
  return `${node ? node.id : INSIDE}.${slot}`;
}

/** Whether a link begins somewhere. @param {Graph} graph @param {Link} link */
export function hasOrigin(graph, link) {
  if (Number(link.origin_id) === INSIDE) return Boolean(graph.inputs?.[link.origin_slot]);
  return Boolean(graph.getNodeById(link.origin_id)?.outputs?.[link.origin_slot]);
}

/**
 * @param {GraphNode} node
 * @param {number} slot
 * @returns {Source | null}
 */
export function sourceOf(node, slot) {
  const { graph } = node;
  const link = linkOf(graph, node.inputs?.[slot]?.link);
  if (!graph || !link || !hasOrigin(graph, link)) return null;
  const from = graph.getNodeById(link.origin_id) ?? undefined;
  return { node: from, slot: link.origin_slot, reroute: link.parentId };
}

/**
 * @param {GraphNode} node
 * @param {number} slot
 * @returns {Target[]}
 */
export function targetsOf(node, slot) {
  const from = startKey(node, slot);
  return node.graph ? wiresOf(node.graph).filter((wire) => wire.from === from) : [];
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
  else connectOutput(node, slot, target);
}

/**
 * A subgraph's output may have several links, of which ComfyUI follows the first; connecting takes the first one away.
 * @param {GraphNode} node
 * @param {number} slot
 * @param {Target} target
 */
function connectOutput(node, slot, target) {
  const output = node.graph?.outputs?.[target.slot];
  if (!output) return;
  const ids = linksInto(node.graph, output);
  replaceAll(output, [target.id, ...ids.filter((id) => id !== target.id)]);
  const link = /** @type {Link | undefined} */ (output.connect(node.outputs[slot], node, target.reroute));
  replaceAll(output, ids.map((id) => (id === target.id && link ? link.id : id)));
}

/**
 * Removes nodes. ComfyUI empties a subgraph's output when one of the nodes that are linked to it goes.
 * @param {Graph} graph
 * @param {GraphNode[]} nodes
 */
export function removeNodes(graph, nodes) {
  const kept = (graph.outputs ?? []).map((output) => ({ output, ids: linksInto(graph, output) }));
  for (const node of nodes) graph.remove(node);
  for (const { output, ids } of kept) replaceAll(output, ids.filter((id) => linkOf(graph, id)));
}

/** The links that there are of those that a subgraph's output names, perhaps twice. @param {Graph | null | undefined} graph @param {SubgraphSlot} slot */
function linksInto(graph, slot) {
  return [...new Set(slot.linkIds)].filter((id) => linkOf(graph, id));
}

/** @param {SubgraphSlot} slot @param {number[]} ids */
function replaceAll(slot, ids) {
  slot.linkIds.splice(0, slot.linkIds.length, ...ids);
}
