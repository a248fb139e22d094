// @ts-check
/** "Convert to LoRA Stack" in the menu of other nodes that load LoRAs, also of nodes whose pack is not installed. */

import { asOneStepOrNone, page } from "../base/canvas.mjs";
import { hostsOf } from "../base/graph.mjs";
import { listLoras } from "../base/server.mjs";
import { tell } from "../base/toast.mjs";
import { t } from "../base/words.mjs";
import { lorasWidget, STACK } from "../stack/node.mjs";
import { withListedNames } from "../values/names.mjs";
import { EMPTY, readStack, toText, writeStack } from "../values/stack.mjs";
import { expectedWires, otherValues, otherWires, shownValues, wiresWithout } from "./compare.mjs";
import { connectSource, connectTarget, inputOf, outputOf, removeNodes, wiresOf } from "./links.mjs";
import { kindOf } from "./loaders.mjs";
import { planFor } from "./plan.mjs";
import { removePromoted } from "./promoted.mjs";
import { countLinks, dropOthersLink, dropOthersLinks, setWidgets, updatePlaceholders } from "./repair.mjs";

/** @import { App, Comfy, Graph, GraphNode, MenuItem, Widget } from "../types.d.ts" */

const BESIDE = 60; // between a loader that stays and the LoRA Stack, in pixels

/**
 * @typedef {import("./plan.mjs").Plan} Plan
 * @typedef {import("../values/stack.mjs").Row} Row
 */

/**
 * @param {GraphNode} node
 * @returns {{reason: string, loaders: number} | null} null for nodes without LoRAs; a reason where it cannot be done
 */
export function convertible(node) {
  const plan = planFor(node);
  if (!plan) return null;
  return "reason" in plan ? { reason: plan.reason, loaders: 1 } : { reason: "", loaders: Math.max(plan.loaders.length, 1) };
}

/**
 * The node's part of its menu.
 * @param {Comfy} comfy
 * @param {GraphNode} node
 * @returns {MenuItem[]}
 */
export function convertItems(comfy, node) {
  const found = convertible(node);
  if (!found) return [];
  const { reason, loaders } = found;
  const label = loaders > 1 ? t("Convert {count} loaders to one LoRA Stack", { count: loaders }) : t("Convert to LoRA Stack");
  return [{
    content: reason ? t("{label} ({reason})", { label, reason }) : label,
    disabled: Boolean(reason),
    callback: () => void convert(comfy, node),
  }];
}

/**
 * What has been done to a graph, where no link has changed that should not.
 * @typedef {object} Done
 * @property {GraphNode} stack
 * @property {string[]} wrong links and values that are not what they should be
 * @property {string[]} notes
 */

/**
 * Puts a LoRA Stack in the node's place, or its rows into the one that it feeds, as one step of undo. Where any other
 * link would change with it, all is taken back.
 * @param {Comfy} comfy
 * @param {GraphNode} node
 * @returns {Promise<GraphNode | undefined>} the LoRA Stack; undefined where it cannot be done
 */
export async function convert(comfy, node) {
  const listed = await listLoras(comfy);
  const plan = planFor(node); // the graph may have changed meanwhile
  if (!plan || "reason" in plan) {
    tell(comfy.app, "error", t("The node cannot be converted"), plan ? [plan.reason] : []);
    return undefined;
  }
  const { rows, notes } = withListedNames(plan.rows, listed);
  /** @type {Done | undefined} */
  let done;
  /** @type {string[]} */
  let wrong = [];
  const isDone = await asOneStepOrNone(comfy.app, () => {
    try {
      done = carryOut(comfy.app, plan, rows);
      wrong = done.wrong;
    } catch (error) { // ComfyUI's, or of a node that is linked to it
      wrong = [error instanceof Error ? error.message : String(error)];
    }
    return !wrong.length;
  });
  if (!isDone || !done) {
    tell(comfy.app, "error", t("The conversion was undone"), wrong);
    return undefined;
  }
  const lost = plan.lost.map((name) => t("The link from the output {name} could not be kept.", { name }));
  const all = [...lost, ...done.notes, ...notes, ...elsewhere(plan, rows, listed)];
  if (all.length) tell(comfy.app, "warn", t("Converted, with these notes"), all);
  return done.stack;
}

/**
 * @param {App} app
 * @param {Plan} plan
 * @param {Row[]} rows with listed names
 * @returns {Done}
 */
function carryOut(app, plan, rows) {
  const leaving = [...plan.loaders, ...plan.stackers];
  const graph = /** @type {Graph} */ ((leaving[0] ?? plan.behind).graph);
  const before = picture(graph, plan);
  for (const one of plan.behind ? [plan.behind] : leaving) dropOthersLinks(one);
  for (const { node, slot } of [...plan.models, ...plan.clips]) if (node) dropOthersLink(node, slot);
  countLinks(graph);
  const stack = plan.into ?? createStack(app, plan);
  const widget = /** @type {Widget} */ (lorasWidget(stack));
  const own = readStack(toText(widget.value || EMPTY));
  widget.value = writeStack(own, [...rows, ...own.rows]);
  widget.callback?.(widget.value);
  if (plan.stack) connectSource(plan.stack, stack, inputOf(stack, "LORA_STACK"));
  if (plan.behind) setWidgets(plan.behind, kindOf(plan.behind)?.widgets ?? [], kindOf(plan.behind)?.emptied ?? {});
  removeNodes(graph, leaving);
  const { removed, names, kept } = removePromoted(plan.promoted);
  for (const one of before.wires.keys()) updatePlaceholders(one);
  const wrong = [...before.wires].flatMap(([one, wires]) => {
    const expected = wiresWithout(one === graph ? expectedWires(wires, plan, stack) : wires, one, removed);
    return otherWires(expected, wiresOf(one)).map((name) => t("This link would have changed: {name}", { name }));
  });
  wrong.push(...otherValues(before.values, shownValues(before.values.keys()), removed)
    .map((name) => t("This value would have changed: {name}", { name })));
  app.canvas?.deselectAll?.();
  app.canvas?.selectNode?.(stack);
  app.canvas?.setDirty?.(true, true);
  return {
    stack, wrong,
    notes: [
      ...names.map((name) => t("{name} is no longer on the subgraph's node: the LoRA Stack inside has its value.", { name })),
      ...kept.map((name) => t("{name} on the subgraph's node no longer sets this LoRA.", { name })),
    ],
  };
}

/**
 * The links of the graph, and those of all graphs and what subgraphs' nodes show where these are touched.
 * @param {Graph} graph
 * @param {Plan} plan
 */
function picture(graph, plan) {
  const root = graph.rootGraph ?? graph;
  const hosts = plan.promoted.length ? hostsOf(root) : new Map();
  /** @type {Graph[]} */
  const graphs = [...new Set([graph, ...(plan.promoted.length ? [root, ...hosts.keys()] : [])])];
  return { wires: new Map(graphs.map((one) => [one, wiresOf(one)])), values: shownValues([...hosts.values()].flat()) };
}

/**
 * A LoRA Stack where the loaders are, linked as they are.
 * @param {App} app
 * @param {Plan} plan
 */
function createStack(app, plan) {
  const first = /** @type {GraphNode} */ (plan.loaders[0] ?? plan.behind);
  const graph = /** @type {Graph} */ (first.graph);
  const stack = page().LiteGraph?.createNode(STACK);
  if (!stack) throw new Error("ComfyUI does not know the LoRA Stack");
  stack.pos = [first.pos[0] + (plan.behind ? first.size[0] + BESIDE : 0), first.pos[1]];
  graph.add(stack);
  if (!plan.behind) stack.setSize([Math.max(stack.size[0], first.size[0]), stack.size[1]]);
  stack.mode = plan.mode;
  const colored = plan.loaders.find((node) => node.color || node.bgcolor);
  if (colored) Object.assign(stack, { color: colored.color, bgcolor: colored.bgcolor });
  const title = plan.loaders.map(ownTitle).find(Boolean);
  if (title) stack.title = title;
  if (plan.loaders[0]?.flags?.collapsed) stack.collapse?.(true);
  if (plan.model) connectSource(plan.model, stack, inputOf(stack, "MODEL"));
  if (plan.clip) connectSource(plan.clip, stack, inputOf(stack, "CLIP"));
  for (const target of plan.models) connectTarget(stack, outputOf(stack, "MODEL"), target);
  for (const target of plan.clips) connectTarget(stack, outputOf(stack, "CLIP"), target);
  app.canvas?.setDirty?.(true, true);
  return stack;
}

/**
 * @param {Plan} plan
 * @param {Row[]} rows
 * @param {string[]} listed
 * @returns {string[]} a note on files that the other pack has in a folder of its own
 */
function elsewhere({ loaders }, rows, listed) {
  const own = loaders.some((node) => kindOf(node)?.only === "x-flux") && rows.some(({ lora }) => !listed.includes(lora));
  return own ? [t("x-flux has its LoRAs in models/xlabs/loras. A LoRA Stack finds them in models/loras.")] : [];
}

/** @param {GraphNode} node @returns {string} the title that the user gave it; empty without */
function ownTitle(node) {
  const kind = /** @type {{title?: string, nodeData?: {display_name?: string}}} */ (node.constructor ?? {});
  const given = [node.type, kind.title, kind.nodeData?.display_name, ...(kindOf(node)?.titles ?? [])];
  return node.title && !given.includes(node.title) ? node.title : "";
}
