// @ts-check
/** "Convert to LoRA Stack" in the menu of other nodes that load LoRAs, also of nodes whose pack is not installed. */

import { asOneStepOrNone, page } from "../base/canvas.mjs";
import { listLoras } from "../base/server.mjs";
import { tell } from "../base/toast.mjs";
import { t } from "../base/words.mjs";
import { lorasWidget, STACK } from "../stack/node.mjs";
import { withListedNames } from "../values/names.mjs";
import { EMPTY, readStack, toText, writeStack } from "../values/stack.mjs";
import { expectedWires, otherWires } from "./compare.mjs";
import { connectSource, connectTarget, inputOf, outputOf, removeNodes, wiresOf } from "./links.mjs";
import { kindOf } from "./loaders.mjs";
import { planFor } from "./plan.mjs";
import { countLinks, dropOthersLink, dropOthersLinks, updatePlaceholders } from "./repair.mjs";

/** @import { App, Comfy, Graph, GraphNode, MenuItem, Widget } from "../types.d.ts" */

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
  return "reason" in plan ? { reason: plan.reason, loaders: 1 } : { reason: "", loaders: plan.loaders.length };
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

/** @type {WeakSet<GraphNode>} */
const withMenu = new WeakSet();

/**
 * The menu where the frontend does not ask extensions for items.
 * @param {Comfy} comfy
 * @param {GraphNode} node
 */
export function installOldMenu(comfy, node) {
  if (typeof comfy.app.collectNodeMenuItems === "function" || !kindOf(node) || withMenu.has(node)) return;
  withMenu.add(node);
  const original = node.getExtraMenuOptions;
  node.getExtraMenuOptions = function (canvas, options) {
    const more = original?.call(this, canvas, options);
    options.push(...convertItems(comfy, this));
    return more;
  };
}

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
  /** @type {GraphNode | undefined} */
  let stack;
  /** @type {string[]} */
  let wrong = [];
  const isDone = await asOneStepOrNone(comfy.app, () => {
    try {
      stack = carryOut(comfy.app, plan, rows, (others) => {
        wrong = others.map((name) => t("This link would not have stayed as it is: {name}", { name }));
      });
      return !wrong.length;
    } catch (error) { // ComfyUI's, or of a node that is linked to it
      wrong = [error instanceof Error ? error.message : String(error)];
      return false;
    }
  });
  if (!isDone) {
    tell(comfy.app, "error", t("The conversion was undone"), wrong);
    return undefined;
  }
  const lost = plan.lost.map((name) => t("The link from the output {name} could not be kept.", { name }));
  if (lost.length || notes.length) tell(comfy.app, "warn", t("Converted, with these notes"), [...lost, ...notes]);
  return stack;
}

/**
 * @param {App} app
 * @param {Plan} plan
 * @param {Row[]} rows with listed names
 * @param {(others: string[]) => void} compared gets the ends of all links that are not what they should be
 * @returns {GraphNode} the LoRA Stack
 */
function carryOut(app, plan, rows, compared) {
  const leaving = [...plan.loaders, ...plan.stackers];
  const graph = /** @type {Graph} */ (leaving[0].graph);
  const before = wiresOf(graph);
  for (const one of leaving) dropOthersLinks(one);
  for (const { node, slot } of [...plan.models, ...plan.clips]) if (node) dropOthersLink(node, slot);
  countLinks(graph);
  const stack = plan.into ?? createStack(app, plan);
  const widget = /** @type {Widget} */ (lorasWidget(stack));
  const own = readStack(toText(widget.value || EMPTY));
  widget.value = writeStack(own, [...rows, ...own.rows]);
  widget.callback?.(widget.value);
  if (plan.stack) connectSource(plan.stack, stack, inputOf(stack, "LORA_STACK"));
  removeNodes(graph, leaving);
  updatePlaceholders(graph);
  compared(otherWires(expectedWires(before, plan, stack), wiresOf(graph)));
  app.canvas?.deselectAll?.();
  app.canvas?.selectNode?.(stack);
  app.canvas?.setDirty?.(true, true);
  return stack;
}

/**
 * A LoRA Stack where the loaders are, linked as they are.
 * @param {App} app
 * @param {Plan} plan
 */
function createStack(app, plan) {
  const [first] = plan.loaders;
  const graph = /** @type {Graph} */ (first.graph);
  const stack = page().LiteGraph?.createNode(STACK);
  if (!stack) throw new Error("ComfyUI does not know the LoRA Stack");
  stack.pos = [first.pos[0], first.pos[1]];
  graph.add(stack);
  stack.setSize([Math.max(stack.size[0], first.size[0]), stack.size[1]]);
  stack.mode = plan.mode;
  const colored = plan.loaders.find((node) => node.color || node.bgcolor);
  if (colored) Object.assign(stack, { color: colored.color, bgcolor: colored.bgcolor });
  const title = plan.loaders.map(ownTitle).find(Boolean);
  if (title) stack.title = title;
  if (first.flags?.collapsed) stack.collapse?.(true);
  if (plan.model) connectSource(plan.model, stack, inputOf(stack, "MODEL"));
  if (plan.clip) connectSource(plan.clip, stack, inputOf(stack, "CLIP"));
  for (const target of plan.models) connectTarget(stack, outputOf(stack, "MODEL"), target);
  for (const target of plan.clips) connectTarget(stack, outputOf(stack, "CLIP"), target);
  app.canvas?.setDirty?.(true, true);
  return stack;
}

/** @param {GraphNode} node @returns {string} the title that the user gave it; empty without */
function ownTitle(node) {
  const kind = /** @type {{title?: string, nodeData?: {display_name?: string}}} */ (node.constructor ?? {});
  const given = [node.type, kind.title, kind.nodeData?.display_name, ...(kindOf(node)?.titles ?? [])];
  return node.title && !given.includes(node.title) ? node.title : "";
}
