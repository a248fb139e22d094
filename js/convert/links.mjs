// @ts-check
/** The links of a node in ComfyUI's graph, and putting them onto another node; also those to a subgraph's own slots. */

/**
 * @typedef {object} Source where a link comes from
 * @property {any} node undefined for an input of the subgraph
 * @property {number} slot
 * @property {any} reroute the last one on its way, if any
 */

/**
 * @typedef {object} Target where a link goes
 * @property {any} node undefined for an output of the subgraph
 * @property {number} slot
 * @property {any} reroute
 */

/**
 * @param {any} graph
 * @param {any} id
 */
export function linkOf(graph, id) {
  return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id] ?? graph._links?.get?.(id);
}

/**
 * @param {any} node
 * @param {string} type e.g. MODEL
 * @returns {number} the first input that takes it and is no widget's; -1 without
 */
export function inputOf(node, type) {
  return (node.inputs ?? []).findIndex((/** @type {any} */ slot) => slot.type === type && !slot.widget);
}

/**
 * Inputs of an unknown type are found by their name: packs that take any input save `*`.
 * @param {any} node
 * @param {string} type
 * @param {RegExp} name
 */
export function inputNamed(node, type, name) {
  const byType = inputOf(node, type);
  return byType >= 0 ? byType : (node.inputs ?? []).findIndex((/** @type {any} */ slot) => slot.type === "*" && name.test(slot.name));
}

/**
 * @param {any} node
 * @param {string} type
 * @returns {number}
 */
export function outputOf(node, type) {
  return (node.outputs ?? []).findIndex((/** @type {any} */ slot) => slot.type === type);
}

/**
 * @param {any} node
 * @param {number} slot
 * @returns {Source | null}
 */
export function sourceOf(node, slot) {
  const id = node.inputs?.[slot]?.link;
  const link = id == null ? undefined : linkOf(node.graph, id);
  if (!link) return null;
  const from = node.graph.getNodeById(link.origin_id) ?? undefined;
  return { node: from, slot: link.origin_slot, reroute: link.parentId };
}

/**
 * @param {any} node
 * @param {number} slot
 * @returns {Target[]}
 */
export function targetsOf(node, slot) {
  /** @type {any[]} */
  const ids = node.outputs?.[slot]?.links ?? [];
  return ids.map((id) => linkOf(node.graph, id)).filter(Boolean).map((link) => ({
    node: node.graph.getNodeById(link.target_id) ?? undefined, slot: link.target_slot, reroute: link.parentId,
  }));
}

/**
 * @param {Source} source
 * @param {any} node
 * @param {number} slot
 */
export function connectSource(source, node, slot) {
  if (slot < 0) return;
  if (source.node) source.node.connect(source.slot, node, slot, source.reroute);
  else node.graph.inputs?.[source.slot]?.connect(node.inputs[slot], node, source.reroute);
}

/**
 * Takes the place of whatever was linked to the target.
 * @param {any} node
 * @param {number} slot
 * @param {Target} target
 */
export function connectTarget(node, slot, target) {
  if (slot < 0) return;
  if (target.node) node.connect(slot, target.node, target.slot, target.reroute);
  else node.graph.outputs?.[target.slot]?.connect(node.outputs[slot], node, target.reroute);
}
