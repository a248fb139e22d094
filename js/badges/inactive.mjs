// @ts-check
/**
 * What a prompt leaves out because it is muted or bypassed, as it would be if it took part: whoever has switched a
 * LoRA Stack off for a while still wants to know what fits. Plain data in and out.
 */

import { BYPASSED, INSIDE, linkOf } from "../base/graph.mjs";
import { placeOf } from "./places.mjs";

/** @import { Graph, GraphNode, InputSlot, Link, Prompt } from "../types.d.ts" */

/** @typedef {import("./places.mjs").Place} Place */

const MOST_STEPS = 1000; // along one link

/**
 * The prompt with these nodes and all that lies upstream of them.
 * @param {Prompt} output in API format
 * @param {Place[]} places
 * @returns {Prompt}
 */
export function completed(output, places) {
  const waiting = places.filter(({ id }) => !output[id]);
  if (!waiting.length) return output;
  const result = { ...output };
  while (waiting.length) {
    const place = /** @type {Place} */ (waiting.pop());
    if (Object.hasOwn(result, place.id)) continue;
    /** @type {Record<string, unknown>} */
    const inputs = {};
    for (const widget of place.node.widgets ?? []) inputs[widget.name] = widget.value;
    (place.node.inputs ?? []).forEach((input, slot) => {
      const source = sourceOf(place, slot, MOST_STEPS);
      if (!source) return;
      inputs[input.name] = source.place ? [source.place.id, source.slot] : source.value;
      if (source.place) waiting.push(source.place);
    });
    result[place.id] = { class_type: place.node.comfyClass ?? place.node.type ?? "", inputs };
  }
  return result;
}

/**
 * What comes into an input: an output of another node, or the value that a subgraph's node holds.
 * @typedef {{place: Place, slot: number, value?: undefined} | {place?: undefined, value: unknown}} Source
 */

/**
 * @param {Omit<Place, "id">} place
 * @param {number} slot
 * @param {number} left
 * @param {unknown} [type] of the input that it goes into in the end, if it is another
 * @returns {Source | undefined}
 */
function sourceOf({ hosts, node }, slot, left, type = node.inputs?.[slot]?.type) {
  const link = linkOf(node.graph, node.inputs?.[slot]?.link);
  return link && left > 0 ? along(link, hosts, node.graph, type, left) : undefined;
}

/**
 * @param {Link} link
 * @param {GraphNode[]} hosts
 * @param {Graph | null | undefined} graph
 * @param {unknown} type
 * @param {number} left
 * @returns {Source | undefined}
 */
function along(link, hosts, graph, type, left) {
  if (Number(link.origin_id) !== INSIDE) {
    const node = graph?.getNodeById(link.origin_id);
    return node ? outOf({ hosts, node }, link.origin_slot, type, left) : undefined;
  }
  const host = hosts.at(-1);
  const input = host?.inputs?.[link.origin_slot];
  if (!host || !input) return undefined;
  if (input.link != null) {
    return sourceOf({ hosts: hosts.slice(0, -1), node: host }, link.origin_slot, left - 1, type);
  }
  const widget = host.widgets?.find((one) => one.name === input.widget?.name);
  return widget && { value: widget.value };
}

/**
 * @param {Omit<Place, "id">} place
 * @param {number} slot
 * @param {unknown} type of the input that it goes into in the end
 * @param {number} left
 * @returns {Source | undefined}
 */
function outOf(place, slot, type, left) {
  const { hosts, node } = place;
  const through = node.mode === BYPASSED ? throughInput(node, slot, type) : -1;
  if (through >= 0) return sourceOf(place, through, left - 1, type);
  if (node.subgraph) {
    const { subgraph } = node;
    const link = (subgraph.outputs?.[slot]?.linkIds ?? []).map((id) => linkOf(subgraph, id)).find(Boolean);
    return link && left > 0 ? along(link, [...hosts, node], subgraph, type, left - 1) : undefined;
  }
  if (!node.isVirtualNode) return { place: placeOf(place), slot };
  // Reroutes, and the pairs of other packs that carry a link without a line, in newer frontends also between graphs.
  const far = node.resolveVirtualOutput?.(slot);
  if (far) {
    const at = [...hosts, node].findIndex((one) => one.graph === far.node.graph);
    return at >= 0 && left > 0 ? outOf({ hosts: hosts.slice(0, at), node: far.node }, far.slot, type, left - 1) : undefined;
  }
  const link = node.getInputLink?.(slot);
  const target = link && node.graph?.getNodeById(link.target_id);
  return target ? sourceOf({ hosts, node: target }, link.target_slot, left - 1, type) : undefined;
}

/**
 * Which of its inputs a bypassed node hands on, as ComfyUI chooses it; -1 where none can be.
 * @param {GraphNode} node
 * @param {number} slot of the output
 * @param {unknown} type of the input that it goes into in the end
 */
function throughInput(node, slot, type) {
  const inputs = node.inputs ?? [];
  if (isAny(type)) return slot < inputs.length ? slot : inputs.length ? 0 : -1;
  const fits = (/** @type {InputSlot | undefined} */ input) =>
    input !== undefined && canConnect(input.type, node.outputs[slot]?.type) && canConnect(input.type, type);
  if (fits(inputs[slot])) return slot;
  const same = inputs.findIndex((input) => input.type === type);
  return same >= 0 ? same : inputs.findIndex(fits);
}

/** @param {unknown} one @param {unknown} other */
function canConnect(one, other) {
  if (isAny(one) || isAny(other)) return true;
  const [some, others] = [one, other].map((type) => String(type).toLowerCase().split(","));
  return some.some((type) => others.includes(type));
}

/** @param {unknown} type */
function isAny(type) {
  return type === "*" || type === "" || type === 0 || type == null;
}
