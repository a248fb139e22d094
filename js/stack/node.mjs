// @ts-check
/** The LoRA Stack as others find it in a graph. */

/** @import { GraphNode, Widget } from "../types.d.ts" */

/** Class of the node, and type of the input that has the rows, as Python declares them. */
export const STACK = "LorchestraLoraStack";
export const LORAS_TYPE = "LORCHESTRA_LORAS";

/**
 * @param {GraphNode} node
 * @returns {Widget | undefined} the widget with the rows, also one that was promoted to a subgraph's node; undefined if
 *   the rows come through a link
 */
export function lorasWidget(node) {
  const widget = node.widgets?.find((one) => one.type === LORAS_TYPE);
  const input = widget && node.inputs?.find((one) => one.widget?.name === widget.name);
  return input?.link == null ? widget : undefined;
}
