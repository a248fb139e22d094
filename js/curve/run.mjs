// @ts-check
/** The sampler's run, as far as the graph says it: steps of a node's own inputs, or of the nearest sampler after it. */

import { inputNamed, linkOf, widgetNamed } from "../base/graph.mjs";

/** @import { GraphNode } from "../types.d.ts" */

const MAX_NODES = 200;
const FROM_SIGMAS = "sigmas";

/**
 * The run that a node's `steps` and `sigmas` inputs mean.
 * @param {GraphNode} node
 * @returns {import("../values/axis.mjs").Run}
 */
export function runOf(node) {
  const scheduler = sourceOf(node, FROM_SIGMAS);
  return { steps: scheduler ? stepsOf(scheduler) : stepsOf(node) };
}

/**
 * The run of the nearest sampler or scheduler that the node's outputs come to.
 * @param {GraphNode} node
 * @returns {import("../values/axis.mjs").Run}
 */
export function runAfter(node) {
  const seen = new Set([node]);
  for (const at of seen) {
    if (seen.size > MAX_NODES) break;
    const scheduler = sourceOf(at, FROM_SIGMAS);
    const steps = at === node ? undefined : stepsOf(at) ?? (scheduler && stepsOf(scheduler));
    if (steps && !at.comfyClass?.startsWith("Lorchestra")) return { steps };
    for (const output of at?.outputs ?? []) {
      for (const id of output.links ?? []) {
        const link = linkOf(at.graph, id);
        const next = link && String(link.origin_id) === String(at.id) && at.graph?.getNodeById(link.target_id);
        if (next) seen.add(next);
      }
    }
  }
  return {};
}

/**
 * @param {GraphNode} node
 * @returns {number | undefined}
 */
function stepsOf(node) {
  const source = sourceOf(node, "steps");
  const widget = source
    ? source.widgets?.find((one) => typeof one.value === "number")
    : widgetNamed(node, "steps");
  const steps = Number(widget?.value);
  return typeof widget?.value === "number" && Number.isInteger(steps) && steps > 0 ? steps : undefined;
}

/**
 * The node that an input gets its value from.
 * @param {GraphNode} node
 * @param {string} name
 */
function sourceOf(node, name) {
  const link = linkOf(node.graph, inputNamed(node, name)?.link);
  return link ? node.graph?.getNodeById(link.origin_id) ?? undefined : undefined;
}
