// @ts-check
/** Nodes, links and widgets of a graph, in all frontends. Plain data in and out. */

/** @import { App, Graph, GraphNode, InputSlot, Link, Widget } from "../types.d.ts" */

/** Modes of a node in which it takes no part, as ComfyUI numbers them. */
export const MUTED = 2;
export const BYPASSED = 4;

/** The id that links have which come into a subgraph. */
export const INSIDE = -10;

/**
 * @param {App} app
 * @returns {Graph} the outermost graph
 */
export function rootOf(app) {
  return /** @type {Graph} */ (app.rootGraph ?? app.graph?.rootGraph ?? app.graph);
}

/**
 * @param {Graph} graph
 * @returns {GraphNode[]}
 */
export function nodesOf(graph) {
  return graph.nodes ?? graph._nodes ?? [];
}

/**
 * @param {Graph | null | undefined} graph
 * @param {number | null | undefined} id
 * @returns {Link | undefined} undefined without such a link
 */
export function linkOf(graph, id) {
  if (!graph || id == null) return undefined;
  return graph.getLink?.(id) ?? inLinks(graph.links, id) ?? inLinks(graph._links, id);
}

/**
 * A map in newer frontends, an object in older ones.
 * @param {Graph["links"]} links
 * @param {number} id
 */
function inLinks(links, id) {
  const { get } = /** @type {Partial<Map<number, Link>>} */ (links ?? {});
  return get?.call(links, id) ?? /** @type {Record<number, Link>} */ (links)?.[id];
}

/**
 * @param {GraphNode} node
 * @param {string} name
 * @returns {InputSlot | undefined}
 */
export function inputNamed(node, name) {
  return node.inputs?.find((slot) => slot.name === name);
}

/**
 * @param {GraphNode} node
 * @param {string} name
 * @returns {Widget | undefined}
 */
export function widgetNamed(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

/**
 * Whether a node is in its graph, and not one that was removed or a copy on its way.
 * @param {GraphNode} node
 */
export function isInGraph(node) {
  return node.id != null && node.graph?.getNodeById(node.id) === node;
}

/**
 * The nodes of each subgraph that is used.
 * @param {Graph} root
 * @returns {Map<Graph, GraphNode[]>}
 */
export function hostsOf(root) {
  /** @type {Map<Graph, GraphNode[]>} */
  const found = new Map();
  const graphs = [root];
  for (const graph of graphs) {
    for (const node of nodesOf(graph)) {
      if (!node.subgraph) continue;
      const same = found.get(node.subgraph);
      if (same) same.push(node);
      else {
        found.set(node.subgraph, [node]);
        graphs.push(node.subgraph);
      }
    }
  }
  return found;
}
