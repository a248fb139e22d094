// @ts-check
/** What of a graph decides which model a LoRA Stack is connected to. Plain data in and out; no requests. */

const MODEL_FILE = /\.(safetensors|sft|gguf|ckpt|pt|pth|bin)$/i;
const LONGEST = 300; // of a text in a prompt that may be a file's name or a choice
const STACK = "LorchestraLoraStack";

/**
 * A text that changes when a link, a node, its mode or the file of a loader changes, or a choice of these nodes.
 * @param {any} root the outermost graph
 * @param {any[]} nodes whose choices count too
 * @returns {string}
 */
export function fingerprint(root, nodes) {
  const chosen = new Set(nodes);
  const seen = new Set();
  /** @type {(string | number)[]} */
  const parts = [];
  const walk = (/** @type {any} */ graph) => {
    if (!graph || seen.has(graph)) return;
    seen.add(graph);
    for (const node of graph.nodes ?? graph._nodes ?? []) {
      parts.push("\n", node.id, node.type, node.mode ?? 0);
      for (const input of node.inputs ?? []) {
        if (input.link == null) continue;
        const link = linkOf(graph, input.link);
        parts.push(input.name, link ? `${link.origin_id}:${link.origin_slot}` : input.link);
      }
      for (const widget of node.widgets ?? []) {
        const value = widget.value?.content ?? widget.value;
        if (typeof value !== "string" || value.length > LONGEST) continue;
        if (MODEL_FILE.test(value) || (chosen.has(node) && /^[\w-]{1,40}$/.test(value))) parts.push(value);
      }
      if (node.subgraph) walk(node.subgraph);
    }
  };
  walk(root);
  return parts.join("\t");
}

/**
 * The id that a node has in a prompt: inside subgraphs it begins with theirs. For a subgraph's node to which a stack was
 * promoted it is the inner node's. A node that is not in the prompt keeps its own.
 * @param {any} root
 * @param {any} node
 * @param {Record<string, any>} output the prompt in API format
 * @param {string} text the rows
 * @returns {string}
 */
export function promptId(root, node, output, text) {
  const path = pathTo(root, node.graph) ?? [];
  const id = [...path, node.id].join(":");
  if (!node.subgraph || output[id]) return id;
  const inner = Object.keys(output).filter((key) => key.startsWith(`${id}:`) && output[key].class_type === STACK);
  return inner.find((key) => output[key].inputs?.loras === text) ?? inner[0] ?? id;
}

/**
 * The ids of the subgraphs' nodes that lead to a graph.
 * @param {any} graph
 * @param {any} wanted
 * @param {number} [depth]
 * @returns {(string | number)[] | undefined}
 */
function pathTo(graph, wanted, depth = 0) {
  if (graph === wanted || depth > 16) return graph === wanted ? [] : undefined;
  for (const node of graph?.nodes ?? graph?._nodes ?? []) {
    if (!node.subgraph) continue;
    const rest = pathTo(node.subgraph, wanted, depth + 1);
    if (rest) return [node.id, ...rest];
  }
  return undefined;
}

/**
 * What lies upstream of these nodes, without long texts: enough to find the model's file.
 * @param {Record<string, any>} output the prompt in API format
 * @param {string[]} ids
 * @returns {Record<string, any>}
 */
export function pruned(output, ids) {
  /** @type {Record<string, any>} */
  const result = {};
  const waiting = [...ids];
  while (waiting.length) {
    const id = /** @type {string} */ (waiting.pop());
    const node = output[id];
    if (!node || Object.hasOwn(result, id)) continue;
    /** @type {Record<string, any>} */
    const inputs = {};
    for (const [name, value] of Object.entries(node.inputs ?? {})) {
      if (Array.isArray(value) && value.length === 2 && typeof value[1] === "number") {
        inputs[name] = value;
        waiting.push(String(value[0]));
      } else if (isShort(value) || isShort(value?.content)) inputs[name] = value;
    }
    result[id] = { class_type: node.class_type, inputs };
  }
  return result;
}

/** @param {unknown} value */
function isShort(value) {
  return typeof value === "string" && value.length <= LONGEST;
}

/**
 * @param {any} graph
 * @param {any} id
 */
function linkOf(graph, id) {
  return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id] ?? graph._links?.get?.(id);
}
