// @ts-check
/** Puts trigger words at the end of the prompt, if it stands in one text of the graph; else into the clipboard. */

import { asOneStep } from "../base/canvas.mjs";
import { writeToClipboard } from "../base/clipboard.mjs";
import { inputNamed, linkOf, nodesOf, widgetNamed } from "../base/graph.mjs";
import { tell } from "../base/toast.mjs";
import { t } from "../base/words.mjs";
import { withWords } from "../values/triggers.mjs";

/** @import { App, Graph, GraphNode, Widget } from "../types.d.ts" */

const INSIDE = -10; // the id that links have which come into a subgraph
const MOST_STEPS = 100; // along one link

/**
 * A text of the prompt, as the server has found it.
 * @typedef {object} Field
 * @property {string} node its id in a prompt: inside subgraphs it begins with the ids of their nodes
 * @property {string} input
 */

/**
 * @param {App} app
 * @param {Graph} root the outermost graph
 * @param {Field | null} field
 * @param {string[]} words
 */
export async function insertWords(app, root, field, words) {
  const widget = field && findTextWidget(root, field);
  const text = words.join(", ");
  if (!widget) {
    const copied = await writeToClipboard(text);
    if (copied) tell(app, "info", t("Copied to the clipboard: no single prompt text was found to insert into"), [text]);
    else tell(app, "error", t("The browser does not allow copying"));
    return;
  }
  asOneStep(app, () => {
    widget.value = withWords(String(widget.value), words);
    widget.callback?.(widget.value);
  });
  tell(app, "success", t("Inserted into the prompt"), [text]);
}

/**
 * The widget in which a text of the prompt is written: of the node itself, of a subgraph's node to which it was
 * promoted, or of a primitive node.
 * @param {Graph} root
 * @param {Field} field
 * @returns {Widget | undefined}
 */
export function findTextWidget(root, { node: id, input }) {
  /** @type {GraphNode[]} */
  const hosts = [];
  const ids = id.split(":");
  /** @type {Graph | undefined} */
  let graph = root;
  for (const part of ids) {
    /** @type {GraphNode | undefined} */
    const found = graph && nodesOf(graph).find((one) => String(one.id) === part);
    if (!found) return undefined;
    hosts.push(found);
    graph = found.subgraph;
  }
  const node = /** @type {GraphNode} */ (hosts.pop());
  const widget = widgetOf(hosts, node, input);
  return typeof widget?.value === "string" ? widget : undefined;
}

/**
 * @param {GraphNode[]} hosts the subgraphs' nodes that lead to the node, the outermost first
 * @param {GraphNode} node
 * @param {string} name of its input
 * @returns {Widget | undefined}
 */
function widgetOf(hosts, node, name) {
  for (let left = MOST_STEPS; left > 0; left--) {
    const input = inputNamed(node, name) ?? node.inputs?.find((one) => one.widget?.name === name);
    const link = linkOf(node.graph, input?.link);
    if (!link) return widgetNamed(node, input?.widget?.name ?? name);
    const host = hosts.at(-1);
    if (Number(link.origin_id) === INSIDE && host) {
      const slot = host.inputs?.[link.origin_slot];
      if (!slot) return undefined;
      hosts = hosts.slice(0, -1);
      node = host;
      name = slot.name;
      continue;
    }
    const source = node.graph?.getNodeById(link.origin_id);
    if (!source?.isVirtualNode) return undefined;
    const further = source.inputs?.find((one) => one.link != null);
    if (!further) return source.widgets?.[0]; // a primitive node
    node = source;
    name = further.name;
  }
  return undefined;
}
