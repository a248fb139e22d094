// @ts-check
/** The sampler's run, as far as the graph says it: steps of a node's own inputs, or of the nearest sampler after it. */

const MAX_NODES = 200;
const FROM_SIGMAS = "sigmas";

/**
 * The run that a node's `steps` and `sigmas` inputs mean.
 * @param {any} node
 * @returns {import("../values/axis.mjs").Run}
 */
export function runOf(node) {
  const scheduler = sourceOf(node, FROM_SIGMAS);
  return { steps: scheduler ? stepsOf(scheduler) : stepsOf(node) };
}

/**
 * The run of the nearest sampler or scheduler that the node's outputs come to.
 * @param {any} node
 * @returns {import("../values/axis.mjs").Run}
 */
export function runAfter(node) {
  const seen = new Set([node]);
  for (const at of seen) {
    if (seen.size > MAX_NODES) break;
    const steps = at === node ? undefined : stepsOf(at) ?? (sourceOf(at, FROM_SIGMAS) && stepsOf(sourceOf(at, FROM_SIGMAS)));
    if (steps && !at.comfyClass?.startsWith("Lorchestra")) return { steps };
    for (const output of at?.outputs ?? []) {
      for (const id of output.links ?? []) {
        const next = at.graph?.getNodeById(linkOf(at.graph, id)?.target_id);
        if (next) seen.add(next);
      }
    }
  }
  return {};
}

/**
 * @param {any} node
 * @returns {number | undefined}
 */
function stepsOf(node) {
  const source = sourceOf(node, "steps");
  const widget = source
    ? source.widgets?.find((/** @type {any} */ one) => typeof one.value === "number")
    : node.widgets?.find((/** @type {any} */ one) => one.name === "steps");
  return Number.isInteger(widget?.value) && widget.value > 0 ? widget.value : undefined;
}

/**
 * The node that an input gets its value from.
 * @param {any} node
 * @param {string} name
 */
function sourceOf(node, name) {
  const input = node.inputs?.find((/** @type {any} */ slot) => slot.name === name);
  return input?.link == null ? undefined : node.graph?.getNodeById(linkOf(node.graph, input.link)?.origin_id) ?? undefined;
}

/**
 * @param {any} graph
 * @param {any} id
 */
function linkOf(graph, id) {
  return graph?.getLink?.(id) ?? graph?.links?.get?.(id) ?? graph?.links?.[id];
}
