// @ts-check
/** Our items in the menu of a node, where the frontend does not ask extensions for them. */

/** @import { App, GraphNode, MenuItem } from "../types.d.ts" */

/** @type {WeakSet<GraphNode>} */
const withMenu = new WeakSet();

/**
 * @param {App} app
 * @param {GraphNode} node
 * @param {(node: GraphNode) => MenuItem[]} itemsFor asked when the menu opens
 */
export function installOldMenu(app, node, itemsFor) {
  if (typeof app.collectNodeMenuItems === "function" || withMenu.has(node)) return;
  withMenu.add(node);
  const original = node.getExtraMenuOptions;
  node.getExtraMenuOptions = function (canvas, options) {
    const more = original?.call(this, canvas, options);
    options.push(...itemsFor(this));
    return more;
  };
}
