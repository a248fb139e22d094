// @ts-check
/** The widget of the LoRA Stack, on its own node and where it was promoted to a subgraph's node. */

import { findPlaces, rememberHosts } from "../badges/places.mjs";
import {
  after, asOneSizedStep, drawnOnCanvas, guardWidth, isNodes2, makeRoom, MARGIN, page, passPointerOn, sized, whenDrawn,
} from "../base/canvas.mjs";
import { rootOf } from "../base/graph.mjs";
import { refreshResult } from "../result/text.mjs";
import { EMPTY, promptText, readStack, toText, writeStack } from "../values/stack.mjs";
import { appKey, appRows, keepInApp } from "./app_mode.mjs";
import { createStackList, LIST_CLASS } from "./list.mjs";
import { LORAS_TYPE, lorasWidget } from "./node.mjs";
import { controlSeed, seedOf, showSeed } from "./seed.mjs";

/** @import { App, Comfy, GraphNode, HookedNode, InputData, PromotedInput, SubgraphNode } from "../types.d.ts" */

const MIN_WIDTH = 400;

/**
 * @param {Comfy} comfy
 * @param {HookedNode} node
 * @param {string} name
 * @param {InputData | undefined} inputData the input's type and options, as `/object_info` has them
 */
export function createLorasWidget(comfy, node, name, inputData) {
  let text = toText(inputData?.[1]?.default || EMPTY);
  const { list, start, stop } = listFor(comfy, { node, read: () => text, write: (next) => {
    text = next;
    widget.callback?.(text);
  } });
  after(node, "onAdded", start);
  after(node, "onRemoved", stop);
  const widget = node.addDOMWidget(name, LORAS_TYPE, list.element, {
    getValue: () => text,
    setValue: (/** @type {unknown} */ value) => {
      const next = toText(value);
      if (next === text) return;
      text = next;
      list.render();
      if (node.graph && !comfy.app.configuringGraph) makeRoom(node);
    },
    getMinHeight: () => list.height() + 2 * MARGIN,
    hideOnZoom: false,
    hideInPanel: true, // where ComfyUI would leave a gap
  });
  // A widget that was promoted to a subgraph's node goes into the prompt with its whole text; Python takes what is on.
  widget.serializeValue = () => promptText(text);
  guardWidth(widget);
  passPointerOn(comfy.app, list.element);
  keepInApp(node, widget);
  followLink(node, name, list.element);
  return { widget, minWidth: MIN_WIDTH, minHeight: list.height() };
}

/**
 * @param {GraphNode} node a LoRA Stack
 * @returns {import("../result/text.mjs").About | undefined} what a run gets of its list, and the same however it is written;
 *   nothing where the rows come through a link
 */
export function queuedRows(node) {
  const widget = lorasWidget(node);
  const isLinked = node.inputs?.find((slot) => slot.widget?.name === widget?.name)?.link != null;
  if (!widget || isLinked) return undefined;
  const text = promptText(toText(widget.value));
  const stack = readStack(text);
  return { text, meaning: stack.error ? text : writeStack(stack, stack.rows) };
}

/**
 * Gives a subgraph's node the editor for a promoted LoRA Stack. ComfyUI itself draws nothing there but an empty row.
 * The functions used here are private to ComfyUI; where they are missing, ComfyUI's own way is left alone.
 * @param {Comfy} comfy
 * @param {SubgraphNode} node
 */
export function installPromotion(comfy, node) {
  rememberHosts(comfy.app);
  const original = node.createPromotedHostWidget;
  if (typeof original !== "function" || typeof node._projectPromotedWidget !== "function") return;
  node.createPromotedHostWidget = function (input, id, source) {
    if (source?.type !== LORAS_TYPE) return original.call(this, input, id, source);
    if (this.graph?.getNodeById(this.id) !== this) return undefined; // a copy on its way
    try {
      return createPromotedWidget(comfy, this, input);
    } catch (error) {
      console.warn("[Lorchestra] the promoted LoRA list cannot be shown:", error);
      return undefined;
    }
  };
}

/**
 * @param {Comfy} comfy
 * @param {SubgraphNode} node
 * @param {PromotedInput} input
 */
function createPromotedWidget(comfy, node, input) {
  const { DOMWidgetImpl, addWidget } = page().comfyAPI?.domWidget ?? {};
  if (!DOMWidgetImpl || !addWidget) return undefined;
  input._widget = undefined;
  const stored = node._projectPromotedWidget?.(input); // holds the value that belongs to the subgraph's node
  if (!stored) return undefined;
  const read = () => toText(stored.value || EMPTY);
  const { list, start, stop } = listFor(comfy, { node, input: input.name, read, write: (next) => { stored.value = next; } });
  const widget = new DOMWidgetImpl({
    node,
    name: input.name,
    type: LORAS_TYPE,
    element: list.element,
    options: {
      getValue: read,
      setValue: (/** @type {unknown} */ value) => {
        const next = toText(value);
        if (next === read()) return;
        stored.value = next;
        list.render();
      },
      getMinHeight: () => list.height() + 2 * MARGIN,
      hideOnZoom: false,
      hideInPanel: true, // where ComfyUI would leave a gap
    },
  });
  // Into the store of DOM widgets only: node.addDOMWidget would make a second widget of the same name.
  addWidget({ addCustomWidget() {}, graph: node.graph }, widget);
  Object.defineProperty(widget, "widgetId", { get: () => stored.widgetId, configurable: true });
  Object.defineProperty(widget, "label", {
    get: () => stored.label,
    set: (label) => { stored.label = label; },
    configurable: true,
  });
  guardWidth(widget);
  passPointerOn(comfy.app, list.element);
  keepInApp(node, widget);
  after(widget, "onRemove", stop); // when it is not promoted any more, too
  start();
  // A loaded value goes to the store without a word to the widget.
  queueMicrotask(() => {
    list.render();
    if (!comfy.app.configuringGraph && node.graph) makeRoomForNew(node);
  });
  setTimeout(list.render, 0);
  return widget;
}

/**
 * A list that has just been promoted finds no room on its node, which was made without it.
 * @param {GraphNode} node
 */
function makeRoomForNew(node) {
  if (node.size[1] >= node.computeSize()[1]) return;
  if (node.size[0] < MIN_WIDTH) node.setSize([MIN_WIDTH, node.size[1]]);
  makeRoom(node);
}

/**
 * After undo and redo, App mode and newer Nodes 2.0 keep showing the element of the node that was replaced; this shows
 * the new one.
 * @param {App} app
 */
export function showLiveElements(app) {
  const heal = () => {
    const rows = appRows();
    if (!rows.size && !isNodes2()) return;
    for (const node of app.canvas?.graph?.nodes ?? []) {
      for (const widget of node.widgets ?? []) {
        if (widget.type !== LORAS_TYPE || !widget.element) continue;
        const drawn = rows.get(appKey(node, widget)) ?? (isNodes2() ? drawnOnCanvas(node) : null);
        if (!drawn || drawn.contains(widget.element)) continue;
        drawn.querySelector(`.${LIST_CLASS}`)?.replaceWith(widget.element);
      }
    }
  };
  whenDrawn(heal);
}

/**
 * A list with its badges.
 * @param {Comfy} comfy
 * @param {object} of
 * @param {GraphNode} of.node that shows it
 * @param {string} [of.input] of a subgraph's node, to which the list was promoted
 * @param {() => string} of.read
 * @param {(text: string) => void} of.write
 */
function listFor(comfy, { node, input, read, write }) {
  /** @type {(() => void) | undefined} */
  let unwatch;
  let there = true;
  /** @type {Badges | null | undefined} */
  let badges;
  /** The LoRA Stack that gets the rows; it has the seed. */
  const stackNode = () => (input === undefined ? node : findPlaces(rootOf(comfy.app), [{ node, input }])[0]?.node);
  const list = createStackList({
    comfy, node, read, write,
    step: (change) => asOneSizedStep(comfy.app, node, change),
    sized: (change) => sized(node, change),
    onShown: () => {
      refreshResult(node);
      if (input === undefined) showSeed(comfy.app, node);
    },
    seed: () => {
      const owner = stackNode();
      return owner && seedOf(owner);
    },
    control: (pick) => {
      const owner = stackNode();
      if (owner) controlSeed(owner, pick);
    },
    model: () => badges?.modelOf(node, input) ?? null,
    prompt: async () => (await badges?.promptOf(node, input)) ?? null,
    blocks: async (row) => (await badges?.blocksOf(node, input, row)) ?? {},
    onBuilt: async () => {
      badges = await badgesOf(comfy);
      if (!there) return;
      unwatch?.();
      unwatch = badges?.watch({ node, input, read, show: list.showBadges });
    },
  });
  const start = () => {
    there = true;
    list.start();
  };
  const stop = () => {
    there = false;
    list.stop();
    unwatch?.();
    unwatch = undefined;
  };
  return { list, start, stop };
}

/** @typedef {ReturnType<typeof import("../badges/badges.mjs").createBadges>} Badges */

/** @type {Promise<Badges | null> | undefined} */
let loadingBadges;

/** @param {Comfy} comfy @returns {Promise<Badges | null>} the badges of all nodes; null where they cannot be loaded */
export function badgesOf(comfy) {
  loadingBadges ??= import("../badges/badges.mjs").then(({ createBadges }) => createBadges(comfy)).catch((error) => {
    console.warn("[Lorchestra] no badges:", error);
    return null;
  });
  return loadingBadges;
}

/**
 * Nodes 2.0 leaves a widget editable whose value comes through a link; then its edits would be for nothing.
 * @param {GraphNode} node
 * @param {string} name
 * @param {HTMLElement} element
 */
function followLink(node, name, element) {
  after(node, "onConnectionsChange", () => {
    const input = node.inputs?.find((slot) => slot.widget?.name === name);
    // Frontends without Nodes 2.0 show this very element on a subgraph's node, where it has to stay editable.
    element.inert = isNodes2() && input?.link != null;
  });
}
