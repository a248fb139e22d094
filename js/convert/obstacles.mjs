// @ts-check
/** Why a node cannot become a LoRA Stack, in words. What is not known is a reason, too. */

import { MUTED } from "../base/graph.mjs";
import { t } from "../base/words.mjs";
import { clipWeight, modelWeight } from "../values/stack.mjs";
import { sourceOf } from "./links.mjs";
import { kindOf, rowsOf, valuesOf } from "./loaders.mjs";
import { clipInput, modelInput, otherOutputs, sourceAt, stackInput, targetsAt } from "./ports.mjs";
import { promotedWidgets } from "./promoted.mjs";

/** @import { GraphNode } from "../types.d.ts" */

/** @typedef {import("./loaders.mjs").Kind} Kind */
/** @typedef {import("./promoted.mjs").Promoted} Promoted */
/** @typedef {import("../values/stack.mjs").Row} Row */

const MOST_STEPS = 1000;
/** Loaders whose models any LoRA may change: ComfyUI's own, and those of GGUF files. */
const PLAIN_LOADERS = new Set([
  "UNETLoader", "CheckpointLoaderSimple", "CheckpointLoader", "ImageOnlyCheckpointLoader", "unCLIPCheckpointLoader", "DiffusersLoader",
  "UnetLoaderGGUF", "UnetLoaderGGUFAdvanced",
]);

/**
 * @typedef {object} Held what a node holds, also where the subgraph's node outside holds it
 * @property {Row[]} rows
 * @property {Promoted[]} promoted
 */

/**
 * @param {GraphNode} node of a known kind
 * @param {boolean} [withModel] whether a node for text encoders alone has a partner that has the model
 * @returns {Held | {reason: string}} the reason why its rows cannot be known or kept
 */
export function heldBy(node, withModel = false) {
  const kind = /** @type {Kind} */ (kindOf(node));
  if (kind.role === "wrapper") return { reason: t("its models take LoRAs only from their own pack's nodes") };
  /** @type {Record<string, unknown>} */
  const outside = {};
  const promoted = kind.role === "checkpoint" ? [] : promotedWidgets(node);
  for (const { input, promoted: { name }, outside: { values, linked } } of promoted) {
    if (linked) return { reason: t("{input} comes into the subgraph through a link", { input: plain(input) }) };
    if (new Set(values.map((value) => JSON.stringify(value))).size > 1) {
      return { reason: t("the subgraph's {count} nodes have different values for {input}", { count: values.length, input: plain(input) }) };
    }
    if (values.length) outside[name] = values[0];
  }
  const linked = linkedInput(node, kind, promoted.map(({ input }) => input));
  if (linked) return { reason: t("{input} comes through a link", { input: plain(linked) }) };
  if (kind.role === "stacker" && node.mode === MUTED) return { reason: t("it is muted") };
  const rows = rowsOf(node, kind, outside);
  if (kind.drops && !rows.length && sourceAt(node, stackInput(node))) return { reason: t("it has no LoRA, and may drop the rows that come in") };
  const reason = outputInUse(node, kind, rows) || partsOf(node, kind, outside) || kind.unsaid?.({ ...valuesOf(node, kind).named, ...outside }) || modelOf(node, kind, withModel);
  return reason ? { reason } : { rows, promoted: promoted.map((one) => one.promoted) };
}

/** @param {GraphNode} node @returns {string} why not; empty if it can be converted */
export function troubleOf(node) {
  const held = heldBy(node);
  return "reason" in held ? held.reason : "";
}

/**
 * An input that says what a constant cannot. A checkpoint's loader stays, and keeps what comes into it.
 * @param {GraphNode} node
 * @param {Kind} kind
 * @param {string[]} promoted names of inputs whose values are known
 * @returns {string | undefined} its name
 */
function linkedInput(node, kind, promoted) {
  const ports = [modelInput(node), clipInput(node), stackInput(node)];
  return (node.inputs ?? []).find(({ name, widget }, slot) => {
    if (!sourceOf(node, slot)) return false;
    if (kind.role === "checkpoint") return /^lora_(name|model_strength|clip_strength)$/.test(widget?.name ?? name);
    return !ports.includes(slot) && !promoted.includes(name);
  })?.name;
}

/**
 * @param {GraphNode} node
 * @param {Kind} kind
 * @param {Row[]} rows
 */
function outputInUse(node, kind, rows) {
  if (kind.role === "checkpoint") {
    // Prompts are encoded inside, by the text encoders that the LoRA has changed.
    const sameText = rows.every((row) => (clipWeight(row) ?? modelWeight(row)) === 0);
    const free = ["MODEL", "CLIP", "VAE", "LATENT", ...(sameText ? ["CONDITIONING"] : [])];
    const used = otherOutputs(node, []).find(({ type }) => !free.includes(String(type)));
    return used ? t("its output {name} is in use, and holds what the LoRA has changed", { name: plain(used.label || used.name) }) : "";
  }
  const [used] = kind.whole ? otherOutputs(node, kind.role === "stacker" ? ["LORA_STACK"] : ["MODEL", "CLIP"]) : [];
  return used ? t("its output {name} is in use, and a LoRA Stack has none like it", { name: plain(used.label || used.name) }) : "";
}

/** @param {GraphNode} node @param {Kind} kind @param {Record<string, unknown>} outside */
function partsOf(node, kind, outside) {
  if (!kind.parts) return "";
  const values = { ...valuesOf(node, kind).named, ...outside };
  const part = kind.parts.find((name) => Number(values[name] ?? 1) !== 1);
  return part ? t("its weight for {part} is {value}, and a row has no weights for such parts", { part, value: String(values[part]) }) : "";
}

/** @param {GraphNode} node @param {Kind} kind @param {boolean} withModel */
function modelOf(node, kind, withModel) {
  if (!withModel && kind.role === "loader" && modelInput(node) < 0 && clipInput(node) >= 0) {
    return t("it changes text encoders alone, and a LoRA Stack needs a model");
  }
  if (kind.only === "nunchaku" || kind.knows === "nunchaku") {
    const origin = originOf(node);
    if (origin && /nunchaku/i.test(origin)) return t("its model is Nunchaku's, which a LoRA Stack cannot change");
    if (kind.only && (!origin || !PLAIN_LOADERS.has(origin))) return t("it is not known whether its model is Nunchaku's, which a LoRA Stack cannot change");
  }
  if (kind.only === "x-flux" && feeds(node, "XlabsSampler")) return t("its model goes to x-flux's sampler, which runs no other pack's LoRAs");
  return "";
}

/**
 * The type of the node that a model comes from, where each node on its way has one model alone.
 * @param {GraphNode} node
 * @returns {string | undefined}
 */
function originOf(node) {
  /** @type {GraphNode | undefined} */
  let at = node;
  for (let steps = 0; at && steps < MOST_STEPS; steps++) {
    const models = (at.inputs ?? []).filter(({ type }) => type === "MODEL").length;
    if (!models && at !== node) return at.comfyClass ?? at.type;
    if (models > 1) return undefined;
    at = sourceAt(at, modelInput(at))?.node;
  }
  return undefined;
}

/** Whether a node's model gets to a node of this type. @param {GraphNode} node @param {string} type */
function feeds(node, type) {
  const seen = new Set([node]);
  for (const at of seen) {
    if (at.type === type || at.comfyClass === type) return true;
    if (seen.size > MOST_STEPS) return true; // not known
    for (const { node: next } of targetsAt(at, "MODEL")) if (next) seen.add(next);
  }
  return false;
}

/** Menus of old frontends take text for HTML. @param {unknown} text */
export function plain(text) {
  return String(text).replace(/[<>&]/g, "").slice(0, 60);
}
