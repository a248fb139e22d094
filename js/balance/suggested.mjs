// @ts-check
/** Buttons on the LoRA Balance that set the rows it has measured to the weights it suggests. */

import { addShownWidget, after, asOneStep, makeRoom, MARGIN } from "../base/canvas.mjs";
import { create, ROOT_CLASS, useStyle } from "../base/dom.mjs";
import { BYPASSED, inputNamed, linkOf, MUTED } from "../base/graph.mjs";
import { tell } from "../base/toast.mjs";
import { t } from "../base/words.mjs";
import { lorasWidget, STACK } from "../stack/node.mjs";
import { seedOf } from "../stack/seed.mjs";
import { flat } from "../values/groups.mjs";
import { readStack, toText, writeStack } from "../values/stack.mjs";
import { weighed } from "../values/suggested.mjs";

/** @import { App, GraphNode, HookedNode } from "../types.d.ts" */
/** @typedef {import("../values/suggested.mjs").Suggested} Suggested */

const TYPE = "LORCHESTRA_SUGGESTED";
const NAME = "lorchestra_suggested";
const HEIGHT = 28;
const MOST_STACKS = 100;
const STYLE = `
.lorchestra-suggested { display: flex; align-items: center; gap: 4px; width: 100%; overflow: hidden; white-space: nowrap; }
.lorchestra-suggested .lorchestra-button { flex: none; height: 24px; padding: 0 7px; line-height: 1; }
.lorchestra-suggested-label { flex: 0 9 auto; min-width: 0; overflow: hidden; text-overflow: ellipsis; margin-inline-end: 4px; }
`;

/** Suggestion → what stands on its button, and what it does. @type {Map<string, [() => string, () => string]>} */
const LABELS = new Map([
  ["equal", [() => t("Equal"), () => t("All LoRAs as strong as each other; together as strong as now")]],
  ["total", [() => t("Total"), () => t("Together as strong as one of them at 0.75; their proportions stay")]],
  ["interference", [() => t("Interference"), () => t("Where LoRAs do the same, each is lowered by what the others add to it")]],
]);

/**
 * Shows a button for each suggestion of the last run.
 * @param {App} app
 * @param {HookedNode} node
 */
export function showSuggested(app, node) {
  /** @type {HTMLElement | undefined} */
  let bar;
  let isShown = false;
  after(node, "onExecuted", (value) => {
    const [suggested] = /** @type {{suggested?: Suggested[]}} */ (value ?? {}).suggested ?? [];
    isShown = Boolean(suggested?.rows?.length);
    if (!bar && !isShown) return;
    bar ??= addBar(app, node, () => (isShown ? HEIGHT + 2 * MARGIN : 0));
    bar.replaceChildren(...(suggested && isShown ? contents(app, node, suggested) : []));
    bar.style.display = isShown ? "flex" : "none";
    makeRoom(node);
  });
}

/** @param {App} app @param {GraphNode} node @param {Suggested} suggested */
function contents(app, node, suggested) {
  const buttons = [...LABELS].filter(([id]) => suggested.weights[id]).map(([id, [label, rule]]) => create("button", {
    type: "button", class: "lorchestra-button", text: label(), title: rule(), "aria-label": `${label()}. ${rule()}`,
    onclick: () => use(app, node, suggested, id),
  }));
  return [create("span", { class: "lorchestra-suggested-label lorchestra-quiet", text: t("Set rows:") }), ...buttons];
}

/**
 * Sets the rows, as one step of undo; or says why they cannot be set.
 * @param {App} app
 * @param {GraphNode} node
 * @param {Suggested} suggested
 * @param {string} id
 */
function use(app, node, suggested, id) {
  const stacks = stacksBefore(node);
  if (!stacks) {
    tell(app, "warn", t("The rows are not those of a LoRA Stack that is connected here. Use this node's LORA_STACK output instead"));
    return;
  }
  const parsed = stacks.map(({ widget }) => readStack(toText(widget.value)));
  const acting = parsed.map((stack, at) => flat(stack, seedOf(stacks[at].owner)));
  const changed = weighed(parsed.map(({ rows }) => rows), suggested, id, acting);
  if (!changed || parsed.some(({ error }) => error)) {
    tell(app, "warn", t("The rows have changed since this run. Run the node again"));
    return;
  }
  asOneStep(app, () => stacks.forEach(({ widget }, at) => { widget.value = writeStack(parsed[at], changed[at]); }));
  tell(app, "success", t("The rows have the suggested weights; Ctrl+Z takes them back"));
}

/**
 * @param {GraphNode} node
 * @returns {{widget: import("../types.d.ts").Widget, owner: GraphNode}[] | null} the rows that come into it, the first
 *   ones first; null if others than LoRA Stacks are among them
 */
function stacksBefore(node) {
  /** @type {{widget: import("../types.d.ts").Widget, owner: GraphNode}[]} */
  const found = [];
  for (let at = node; found.length < MOST_STACKS;) {
    const link = linkOf(at.graph, inputNamed(at, "lora_stack")?.link);
    if (!link) return found.length ? found : null;
    const origin = at.graph?.getNodeById(link.origin_id);
    const widget = origin && lorasWidget(origin);
    if (!origin || !widget || origin.comfyClass !== STACK || origin.mode === MUTED || origin.mode === BYPASSED) return null;
    found.unshift({ widget, owner: origin });
    at = origin;
  }
  return null;
}

/**
 * @param {App} app
 * @param {HookedNode} node
 * @param {() => number} least height
 * @returns {HTMLElement}
 */
function addBar(app, node, least) {
  useStyle("suggested", STYLE);
  const element = create("div", {
    class: `${ROOT_CLASS} lorchestra-suggested`, role: "group", "aria-label": t("Set the rows to suggested weights"),
  });
  addShownWidget(app, node, { name: NAME, type: TYPE, element, least, most: least });
  return element;
}
