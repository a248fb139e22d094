// @ts-check
/** What of a graph decides which model a LoRA Stack is connected to. Plain data in and out; no requests. */

import { linkOf, nodesOf } from "../base/graph.mjs";
import { findPromoted } from "./places.mjs";

/** @import { Graph, GraphNode, Prompt, Widget } from "../types.d.ts" */

const MODEL_FILE = /\.(safetensors|sft|gguf|ckpt|pt|pth|bin)$/i;
const LONGEST = 300; // of a text in a prompt that may be a file's name or a choice
const SOMETHING = "…"; // stands in a prompt for a value that names no file and chooses nothing

/** The widgets by which switches choose an input, as `lorchestra/workflow/switches.py` knows them. */
export const SELECTORS = new Set(["Input", "boolean", "cond", "index", "select", "switch"]);

/**
 * A text that changes when a link, a node, its mode or the file of a loader changes, a choice of the LoRA Stacks or of
 * a switch, or where they stand.
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
        if (typeof value !== "string" || value.length > LONGEST) continue;
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

/**
 * What lies upstream of these nodes, without long texts: enough to find the model's file.
 * @param {Prompt} output in API format
 * @param {string[]} ids
 * @returns {Prompt}
 */
export function pruned(output, ids) {
  /** @type {Prompt} */
  const result = {};
  const waiting = [...ids];
  while (waiting.length) {
    const id = /** @type {string} */ (waiting.pop());
    const node = output[id];
    if (!node || Object.hasOwn(result, id)) continue;
    /** @type {Record<string, unknown>} */
    const inputs = {};
    for (const [name, value] of Object.entries(node.inputs ?? {})) {
      if (Array.isArray(value) && value.length === 2 && typeof value[1] === "number") {
        inputs[name] = value;
        waiting.push(String(value[0]));
      } else inputs[name] = isShort(value) || isShort(contentOf(value)) ? value : SOMETHING;
    }
    result[id] = { class_type: node.class_type, inputs };
  }
  return result;
}

/** What text areas of some packs hold beside their looks. @param {unknown} value @returns {unknown} */
function contentOf(value) {
  return /** @type {{content?: unknown} | null | undefined} */ (value)?.content;
}

/** @param {unknown} value */
function isShort(value) {
  return typeof value === "number" || typeof value === "boolean" || (typeof value === "string" && value.length <= LONGEST);
}
