// @ts-check
/** Where LoRA Stacks stand: through which subgraphs' nodes they are reached, and what their ids in a prompt are. */

import { hostsOf, isInGraph, linkOf } from "../base/graph.mjs";

/** @import { App, Graph, GraphNode } from "../types.d.ts" */

const DEEPEST = 16; // subgraphs inside subgraphs

/**
 * @typedef {object} Place
 * @property {string} id in a prompt: inside subgraphs it begins with the ids of their nodes
 * @property {GraphNode[]} hosts the subgraphs' nodes that lead to the node, the outermost first
 * @property {GraphNode} node
 */

/** Subgraph → that of its nodes by which it was entered last. @type {WeakMap<Graph, GraphNode>} */
const entered = new WeakMap();
const listening = new WeakSet();

/**
 * Remembers by which of its nodes a subgraph is entered: ComfyUI says so once, and keeps it nowhere.
 * @param {App} app
 */
export function rememberHosts(app) {
  const element = app.canvas?.canvas;
  if (!element || listening.has(element)) return;
  listening.add(element);
  element.addEventListener("subgraph-opening", (event) => {
    /** @type {{subgraph?: Graph, fromNode?: GraphNode}} */
    const { subgraph, fromNode } = /** @type {CustomEvent} */ (event).detail ?? {};
    if (!subgraph) return;
    // Older frontends do not say which node it was; it is selected then.
    const host = fromNode ?? Object.values(app.canvas.selected_nodes ?? {}).find((node) => node.subgraph === subgraph);
    if (host) entered.set(subgraph, host);
  });
}

/** @param {Omit<Place, "id">} at @returns {Place} */
export function placeOf({ hosts, node }) {
  return { id: [...hosts, node].map((one) => one.id).join(":"), hosts, node };
}

/**
 * One place for each list, that of the LoRA Stack that gets its rows. A subgraph may have several nodes: then it is the
 * one by which it was entered. Nothing for what is in no graph any more.
 * @param {Graph} root the outermost graph
 * @param {{node: GraphNode, input?: string}[]} lists the node that shows each, and the input to which it was promoted there
 * @returns {(Place | undefined)[]}
 */
export function findPlaces(root, lists) {
  const known = hostsOf(root);
  return lists.map(({ node, input }) => {
    if (!node.graph || !isInGraph(node)) return undefined;
    const hosts = hostsTo(root, node.graph, known);
    if (!hosts) return undefined;
    return placeOf((input !== undefined && findPromoted(hosts, node, input)) || { hosts, node });
  });
}

/**
 * @param {Graph} root
 * @param {Graph} graph
 * @param {Map<Graph, GraphNode[]>} known
 * @returns {GraphNode[] | undefined}
 */
function hostsTo(root, graph, known) {
  /** @type {GraphNode[]} */
  const hosts = [];
  for (let at = graph; at !== root; at = /** @type {Graph} */ (hosts[0].graph)) {
    const all = known.get(at) ?? [];
    if (!all.length || hosts.length >= DEEPEST) return undefined;
    const last = entered.get(at);
    hosts.unshift(last && all.includes(last) ? last : all[0]);
  }
  return hosts;
}

/**
 * The node whose widget is shown at an input of a subgraph's node, however deep it is.
 * @param {GraphNode[]} hosts of that node
 * @param {GraphNode} node
 * @param {string | undefined} input
 * @returns {Omit<Place, "id"> & {input: string | undefined} | undefined} the node, and what its input is called
 */
export function findPromoted(hosts, node, input) {
  while (node.subgraph) {
    const { subgraph } = node;
    const slot = node.inputs?.findIndex((one) => one.name === input);
    const links = (subgraph.inputs?.[slot]?.linkIds ?? []).map((id) => linkOf(subgraph, id));
    const link = links.find((one) => one && subgraph.getNodeById(one.target_id));
    const inside = link && subgraph.getNodeById(link.target_id);
    if (!inside || hosts.length >= DEEPEST) return undefined;
    hosts = [...hosts, node];
    node = inside;
    input = node.inputs?.[link.target_slot]?.name;
  }
  return { hosts, node, input };
}
