// @ts-check
/** What of a graph decides which model and which prompt a LoRA Stack is connected to. Plain data; no requests. */

import { linkOf, nodesOf } from "../base/graph.mjs";
import { LORAS_TYPE } from "../stack/node.mjs";
import { findPromoted } from "./places.mjs";

/** @import { Graph, GraphNode, Prompt, Widget } from "../types.d.ts" */

const MODEL_FILE = /\.(safetensors|sft|gguf|ckpt|pt|pth|bin)$/i;
const LONGEST = 300; // of a text in a prompt that may be a file's name or a choice
const LONGEST_PROMPT = 20_000; // of a text that may be what the model is told
const SOMETHING = "…"; // stands in a prompt for a value that names no file and chooses nothing

/** Types of widgets that hold no text that somebody writes. */
const NO_PROMPTS = new Set(["combo", "button", "toggle", "number", LORAS_TYPE]);

/** The widgets by which switches choose an input, as `lorchestra/workflow/switches.py` knows them. */
export const SELECTORS = new Set(["Input", "boolean", "cond", "index", "select", "switch"]);

/**
 * A text that changes when a link, a node, its mode, a text or the file of a loader changes, a choice of the LoRA Stacks
 * or of a switch, or where they stand.
 * @param {Graph} root the outermost graph
 * @param {import("./places.mjs").Place[]} places
 * @returns {string}
 */
export function fingerprint(root, places) {
  const chosen = new Set(places.flatMap(({ hosts, node }) => [...hosts, node]));
  const seen = new Set();
  /** @type {(string | number | undefined)[]} */
  const parts = places.map(({ id }) => id);
  const walk = (/** @type {Graph | undefined} */ graph) => {
    if (!graph || seen.has(graph)) return;
    seen.add(graph);
    for (const node of nodesOf(graph)) {
      parts.push("\n", node.id, node.type, node.mode ?? 0);
      for (const input of node.inputs ?? []) {
        if (input.link == null) continue;
        const link = linkOf(graph, input.link);
        parts.push(input.name, link ? `${link.origin_id}:${link.origin_slot}` : input.link);
      }
      for (const widget of node.widgets ?? []) {
        const value = contentOf(widget.value) ?? widget.value;
        if ((typeof value === "number" || typeof value === "boolean") && isSelector(node, widget)) parts.push(String(value));
        if (typeof value !== "string") continue;
        if (mayBePrompt(node, widget)) parts.push(value.length, value.slice(0, LONGEST_PROMPT));
        if (value.length > LONGEST) continue;
        if (MODEL_FILE.test(value) || (chosen.has(node) && /^[\w-]{1,40}$/.test(value))) parts.push(value);
      }
      if (node.subgraph) walk(node.subgraph);
    }
    for (const output of graph.outputs ?? []) parts.push("out", ...(output.linkIds ?? []).map(String));
  };
  walk(root);
  return parts.join("\t");
}

/** Also of a subgraph's node, where it may have any name. @param {GraphNode} node @param {Widget} widget */
function isSelector(node, widget) {
  const name = node.subgraph ? findPromoted([], node, widget.name)?.input : widget.name;
  return name !== undefined && SELECTORS.has(name);
}

/** Whether what is written here may be a part of a prompt. @param {GraphNode} node @param {Widget} widget */
function mayBePrompt(node, widget) {
  return !NO_PROMPTS.has(widget.type) && !node.comfyClass?.startsWith("Lorchestra");
}

/**
 * What lies upstream and downstream of these nodes, without very long texts: enough to find the model's file and the
 * prompt.
 * @param {Prompt} output in API format
 * @param {string[]} ids
 * @returns {Prompt}
 */
export function pruned(output, ids) {
  /** @type {Prompt} */
  const result = {};
  const waiting = downstream(output, ids);
  while (waiting.length) {
    const id = /** @type {string} */ (waiting.pop());
    const node = output[id];
    if (!node || Object.hasOwn(result, id)) continue;
    /** @type {Record<string, unknown>} */
    const inputs = {};
    for (const [name, value] of Object.entries(node.inputs ?? {})) {
      if (isLink(value)) {
        inputs[name] = value;
        waiting.push(String(value[0]));
      } else inputs[name] = isShort(value) || isShort(contentOf(value)) ? value : SOMETHING;
    }
    result[id] = { class_type: node.class_type, inputs };
  }
  return result;
}

/**
 * These nodes and all that take something of theirs.
 * @param {Prompt} output
 * @param {string[]} ids
 * @returns {string[]}
 */
function downstream(output, ids) {
  /** @type {Map<string, string[]>} */
  const takers = new Map();
  for (const [id, node] of Object.entries(output)) {
    for (const value of Object.values(node.inputs ?? {})) {
      if (!isLink(value)) continue;
      const source = String(value[0]);
      const known = takers.get(source);
      if (known) known.push(id);
      else takers.set(source, [id]);
    }
  }
  const found = new Set(ids);
  for (const id of found) for (const taker of takers.get(id) ?? []) found.add(taker);
  return [...found];
}

/** @param {unknown} value @returns {value is [string | number, number]} */
function isLink(value) {
  return Array.isArray(value) && value.length === 2 && typeof value[1] === "number";
}

/** What text areas of some packs hold beside their looks. @param {unknown} value @returns {unknown} */
function contentOf(value) {
  return /** @type {{content?: unknown} | null | undefined} */ (value)?.content;
}

/** @param {unknown} value */
function isShort(value) {
  return typeof value === "number" || typeof value === "boolean" || (typeof value === "string" && value.length <= LONGEST_PROMPT);
}
