// @ts-check
/**
 * The node's seed, which only groups read that pick one of their rows. Without one, it is not shown, and not in the
 * prompt: then another seed runs nothing again.
 */

import { after, makeRoom } from "../base/canvas.mjs";
import { inputNamed, widgetNamed } from "../base/graph.mjs";
import { groupsOf, picks } from "../values/groups.mjs";
import { readStack, toText } from "../values/stack.mjs";
import { lorasWidget } from "./node.mjs";

/** @import { App, GraphNode, HookedNode, Widget } from "../types.d.ts" */

const SEED = "pick_seed"; // ComfyUI shows what is called "seed" on every subgraph's node
const CONTROLS = { all: "fixed", one: "randomize", next: "increment" };

/** @param {GraphNode} node @returns {Widget[]} the seed and what becomes of it after each run; none on older nodes */
function widgetsOf(node) {
  const seed = widgetNamed(node, SEED);
  const control = /** @type {{linkedWidgets?: Widget[]} | undefined} */ (seed)?.linkedWidgets?.[0] ?? widgetNamed(node, "control_after_generate");
  return [seed, control].filter((widget) => widget !== undefined);
}

/** @param {GraphNode} node @param {string} name */
const isLinked = (node, name) => inputNamed(node, name)?.link != null;

/** @param {GraphNode} node @returns {boolean} whether a seed may be read */
function isRead(node) {
  if (isLinked(node, "loras")) return true; // nobody knows here what comes
  const stack = readStack(toText(lorasWidget(node)?.value));
  return groupsOf(stack.more).some(picks);
}

/**
 * @param {App} app
 * @param {HookedNode} node a new LoRA Stack
 */
export function installSeed(app, node) {
  const [seed, control] = widgetsOf(node);
  if (!seed) return;
  if (control) control.value = CONTROLS.all; // a workflow that says something else is loaded later
  seed.serializeValue = () => (isRead(node) ? seed.value : undefined);
  after(seed, "callback", () => { // a list may also be shown on a subgraph's node
    for (const list of document.querySelectorAll(".lorchestra-loras")) list.dispatchEvent(new CustomEvent("lorchestra-seed"));
  });
  const show = () => showSeed(app, node);
  after(node, "onConfigure", show);
  after(node, "onConnectionsChange", show);
  show();
  const height = node.computeSize()[1]; // a new node was made with room for it
  if (node.size[1] > height) node.setSize([node.size[0], height]);
}

/**
 * Shows the seed where it is read, and hides it elsewhere.
 * @param {App} app
 * @param {GraphNode} node
 */
export function showSeed(app, node) {
  const widgets = widgetsOf(node);
  if (!widgets.length || node.comfyClass !== "LorchestraLoraStack") return;
  const hidden = !isRead(node) && !isLinked(node, SEED);
  const isNew = Boolean(widgets[0].hidden) && !hidden;
  for (const widget of widgets) {
    widget.hidden = hidden; // the classic renderer
    if (widget.options) widget.options.hidden = hidden;
  }
  if (isNew && node.graph && !app.configuringGraph) makeRoom(node);
}

/**
 * The seed of the next run, as the prompt has it.
 * @param {GraphNode} node
 * @returns {string | undefined} nothing where it comes through a link, or where the list is another node's
 */
export function seedOf(node) {
  const [seed] = widgetsOf(node);
  return !seed || isLinked(node, SEED) ? undefined : JSON.stringify(seed.value);
}

/**
 * Lets the seed change after each run as a group needs it: at random, or by one.
 * @param {GraphNode} node
 * @param {"all" | "one" | "next"} pick
 */
export function controlSeed(node, pick) {
  const [, control] = widgetsOf(node);
  if (control) control.value = CONTROLS[pick];
}
