// @ts-check
/** Nodes of the workflow by their ids in the graph that runs, such as `12:3`: node 3 in the subgraph of node 12. */

import { rootOf } from "../base/graph.mjs";

/** @import { App, GraphNode } from "../types.d.ts" */

/**
 * @param {App} app
 * @param {string} id
 * @returns {GraphNode[]} the nodes of the subgraphs around it, and the node last; empty if it is not there
 */
export function nodesAt(app, id) {
  /** @type {GraphNode[]} */
  const found = [];
  let graph = /** @type {import("../types.d.ts").Graph | undefined} */ (rootOf(app));
  for (const part of id.split(":")) {
    const node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part));
    if (!node) return [];
    found.push(node);
    graph = node.subgraph;
  }
  return found;
}

/**
 * Opens the graph that a node is in, brings it into view and selects it.
 * @param {App} app
 * @param {string} id
 * @param {number} covered pixels at the right that something else covers
 * @returns {boolean} whether it is there
 */
export function showNode(app, id, covered) {
  const found = nodesAt(app, id);
  const node = found.pop();
  if (!node) return false;
  const { canvas } = app;
  const root = rootOf(app);
  const wanted = found.at(-1)?.subgraph ?? root;
  if (canvas.graph !== wanted) {
    if (canvas.graph !== root) canvas.setGraph?.(root);
    for (const host of found) canvas.openSubgraph?.(host.subgraph, host);
  }
  canvas.deselectAll?.();
  canvas.selectNode?.(node);
  canvas.centerOnNode?.(node);
  if (canvas.ds.offset) canvas.ds.offset[0] -= covered / 2 / canvas.ds.scale;
  canvas.setDirty?.(true, true);
  return true;
}
