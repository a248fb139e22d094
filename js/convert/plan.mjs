// @ts-check
/** What a LoRA Stack in the place of other loaders would be: their rows, their links, and what would be lost. */

import { page } from "../base/canvas.mjs";
import { BYPASSED, MUTED, nodesOf } from "../base/graph.mjs";
import { t } from "../base/words.mjs";
import { lorasWidget, STACK } from "../stack/node.mjs";
import { changed, isOn, readStack, toText } from "../values/stack.mjs";
import { outputOf, targetsOf } from "./links.mjs";
import { kindOf, rowsOf } from "./loaders.mjs";
import { heldBy, plain, troubleOf } from "./obstacles.mjs";
import { clipInput, modelInput, otherOutputs, sourceAt, stackInput, targetsAt } from "./ports.mjs";

/** @import { GraphNode } from "../types.d.ts" */

const LONGEST = 1000; // nodes in a chain
const MODEL_LIST = "LoadLoraModel";
const TEXT_LIST = "LoadLoraTextEncoder";

/**
 * @typedef {import("../values/stack.mjs").Row} Row
 * @typedef {import("./links.mjs").Source} Source
 * @typedef {import("./links.mjs").Target} Target
 * @typedef {import("./promoted.mjs").Promoted} Promoted
 */

/**
 * @typedef {object} Plan
 * @property {GraphNode[]} loaders nodes whose place it takes, in their order; empty where the rows go into a stack
 * @property {GraphNode[]} stackers nodes that handed rows to them
 * @property {GraphNode | null} into the LoRA Stack that the rows go into, instead of a new one
 * @property {GraphNode | null} behind the checkpoint's loader that gives its LoRA up to a LoRA Stack behind it
 * @property {Row[]} rows
 * @property {Source | null} model
 * @property {Source | null} clip
 * @property {Source | null} stack rows that still come through a link
 * @property {Target[]} models where the changed model goes
 * @property {Target[]} clips
 * @property {number} mode
 * @property {string[]} lost outputs whose links cannot be kept
 * @property {Promoted[]} promoted inputs of the subgraph whose values have become rows
 */

/**
 * @param {GraphNode} node
 * @returns {Plan | {reason: string} | null} null for a node that holds no LoRAs; a reason where it cannot be done
 */
export function planFor(node) {
  const kind = node?.graph && kindOf(node);
  if (!kind) return null;
  const pair = pairOf(node);
  if (pair) return finished(planOfPair(pair));
  const held = heldBy(node);
  if (kind.role === "checkpoint" && !rowsOf(node, kind).length) return null;
  if ("reason" in held) return held;
  const plan = kind.role === "checkpoint" ? planBehind(node)
    : kind.chains ? planOfChain(chainAround(node)) : planAtEnd(kind.role === "stacker" ? endOf(node) : { node });
  return finished(plan);
}

/** @param {Plan | {reason: string}} plan */
function finished(plan) {
  const refused = "reason" in plan ? "" : refusedLink(plan);
  return refused ? { reason: refused } : plan;
}

/** @param {{node: GraphNode} | {reason: string}} end @returns {Plan | {reason: string}} */
function planAtEnd(end) {
  if ("reason" in end) return end;
  return end.node.type === STACK ? planInto(end.node) : planOfLoader(end.node);
}

/**
 * Files have links between slots that ComfyUI would not connect any more.
 * @param {Plan} plan
 * @returns {string} which of its links that is; empty without
 */
function refusedLink(plan) {
  const canConnect = (/** @type {unknown} */ from, /** @type {unknown} */ to) => page().LiteGraph?.isValidConnection?.(from, to) ?? true;
  /** @type {[string, Source | null][]} */
  const sources = [["MODEL", plan.model], ["CLIP", plan.clip], ["LORA_STACK", plan.stack]];
  for (const [type, source] of sources) {
    const output = source?.node?.outputs[source.slot];
    if (output && !canConnect(output.type, type)) {
      return t("the output {name} gives no {type}", { name: plain(output.label || output.name), type });
    }
  }
  /** @type {[string, Target[]][]} */
  const targets = [["MODEL", plan.models], ["CLIP", plan.clips]];
  for (const [type, ends] of targets) {
    for (const { node, slot } of ends) {
      const input = node?.inputs[slot];
      if (input && !canConnect(type, input.type)) return t("the input {name} takes no {type}", { name: plain(input.name), type });
    }
  }
  return "";
}

/** @param {GraphNode} node @returns {Plan} */
function planOfLoader(node) {
  const { stackers, source } = stackersBefore(node);
  const { rows, promoted } = heldTogether([...stackers, node], (one) => one !== node);
  return {
    loaders: [node], stackers, into: null, behind: null, rows, promoted,
    model: sourceAt(node, modelInput(node)), clip: sourceAt(node, clipInput(node)), stack: source,
    models: targetsAt(node, "MODEL"), clips: targetsAt(node, "CLIP"),
    mode: node.mode ?? 0,
    lost: [...stackers.flatMap((one) => lostOf(one, ["LORA_STACK"])), ...lostOf(node, ["MODEL", "CLIP"])],
  };
}

/** @param {GraphNode} node a LoRA Stack @returns {Plan | {reason: string}} */
function planInto(node) {
  const widget = lorasWidget(node);
  if (!widget) return { reason: t("the list of the LoRA Stack comes through a link") };
  const own = readStack(toText(widget.value));
  if (own.asks) return { reason: t("the LoRA Stack has text; show it as a list first") };
  if (own.error) return { reason: t("the LoRA Stack's text cannot be read") };
  const { stackers, source } = stackersBefore(node);
  return {
    loaders: [], stackers, into: node, behind: null, ...heldTogether(stackers, () => true), stack: source,
    model: null, clip: null, models: [], clips: [], mode: 0,
    lost: stackers.flatMap((one) => lostOf(one, ["LORA_STACK"])),
  };
}

/**
 * The loader stays, without its LoRA; what its model and its text encoders went to comes from the LoRA Stack.
 * @param {GraphNode} node a checkpoint's loader
 * @returns {Plan | {reason: string}}
 */
function planBehind(node) {
  const [model, clip] = [outputOf(node, "MODEL"), outputOf(node, "CLIP")];
  const [models, clips] = [targetsAt(node, "MODEL"), targetsAt(node, "CLIP")];
  if (model < 0 || !models.length) return { reason: t("its MODEL output is not connected") };
  return {
    loaders: [], stackers: [], into: null, behind: node, ...heldTogether([node], () => false), stack: null,
    model: { node, slot: model }, clip: clips.length ? { node, slot: clip } : null, models, clips,
    mode: node.mode ?? 0, lost: [],
  };
}

/** @param {GraphNode[]} chain @returns {Plan | {reason: string}} */
function planOfChain(chain) {
  const modes = new Set(chain.map((node) => node.mode ?? 0));
  if (modes.size > 1 && modes.has(MUTED)) return { reason: t("one of the chain's loaders is muted") };
  const withClip = chain.filter((node) => clipInput(node) >= 0);
  const last = chain[chain.length - 1];
  const lastWithClip = withClip[withClip.length - 1];
  return {
    loaders: chain, stackers: [], into: null, behind: null, stack: null, ...heldTogether(chain, () => modes.size > 1),
    model: sourceAt(chain[0], modelInput(chain[0])),
    clip: withClip.length ? sourceAt(withClip[0], clipInput(withClip[0])) : null,
    models: targetsAt(last, "MODEL"), clips: lastWithClip ? targetsAt(lastWithClip, "CLIP") : [],
    mode: modes.size > 1 ? 0 : (last.mode ?? 0),
    lost: chain.flatMap((node) => lostOf(node, ["MODEL", "CLIP"])),
  };
}

/**
 * ComfyUI's two lists for one set of LoRAs: one for the model, the other for the text encoders. They belong together
 * where a graph has no more than these two, and neither depends on the other.
 * @param {GraphNode} node either of them
 * @returns {{model: GraphNode, text: GraphNode} | undefined}
 */
function pairOf(node) {
  if (![MODEL_LIST, TEXT_LIST].includes(node.type ?? "") || !node.graph) return undefined;
  const all = nodesOf(node.graph);
  const [model, ...models] = all.filter(({ type }) => type === MODEL_LIST);
  const [text, ...texts] = all.filter(({ type }) => type === TEXT_LIST);
  if (!model || !text || models.length || texts.length || (model.mode ?? 0) !== (text.mode ?? 0)) return undefined;
  if ("reason" in heldBy(model) || "reason" in heldBy(text, true) || isBehind(text, model) || isBehind(model, text)) return undefined;
  return chainAround(model).some((one) => clipInput(one) >= 0 || (one.mode ?? 0) !== (text.mode ?? 0)) ? undefined : { model, text };
}

/**
 * @param {{model: GraphNode, text: GraphNode}} pair
 * @returns {Plan | {reason: string}}
 */
function planOfPair({ model, text }) {
  const plan = planOfChain(chainAround(model));
  const held = heldBy(text, true);
  if ("reason" in plan || "reason" in held) return "reason" in held ? held : plan;
  return {
    ...plan, loaders: [...plan.loaders, text], rows: joinedRows(plan.rows, held.rows), promoted: [...plan.promoted, ...held.promoted],
    clip: sourceAt(text, clipInput(text)), clips: targetsAt(text, "CLIP"), lost: [...plan.lost, ...lostOf(text, ["CLIP"])],
  };
}

/**
 * One row for a LoRA that both lists have once, and switch alike.
 * @param {Row[]} forModel
 * @param {Row[]} forText
 * @returns {Row[]}
 */
function joinedRows(forModel, forText) {
  const once = (/** @type {Row[]} */ rows, /** @type {string} */ lora) => rows.filter((row) => row.lora === lora).length === 1;
  const joins = (/** @type {Row} */ one, /** @type {Row} */ other) =>
    one.lora === other.lora && isOn(one) === isOn(other) && once(forModel, one.lora) && once(forText, one.lora);
  const rows = forModel.map((row) => {
    const partner = forText.find((other) => joins(row, other));
    return partner ? changed(row, { clip: partner.clip === row.model ? undefined : partner.clip ?? 0 }) : row;
  });
  return [...rows, ...forText.filter((row) => !forModel.some((other) => joins(row, other)))];
}

/** Whether something of a node's outputs gets to another node. @param {GraphNode} from @param {GraphNode} to */
function isBehind(from, to) {
  const seen = new Set([from]);
  for (const one of seen) {
    if (seen.size > LONGEST) return true; // not known
    for (const slot of (one.outputs ?? []).keys()) for (const { node } of targetsOf(one, slot)) if (node) seen.add(node);
  }
  return seen.has(to);
}

/**
 * The loaders that change one model after another, where nothing else uses what goes from one to the next.
 * @param {GraphNode} node
 * @returns {GraphNode[]}
 */
function chainAround(node) {
  const chain = [node];
  while (chain.length < LONGEST) {
    const before = sourceAt(chain[0], modelInput(chain[0]))?.node;
    if (!before || !joins(before, chain[0], before, chain.find((one) => clipInput(one) >= 0))) break;
    chain.unshift(before);
  }
  while (chain.length < LONGEST) {
    const last = chain[chain.length - 1];
    const after = targetsAt(last, "MODEL")[0]?.node;
    if (!after || !joins(last, after, chain.findLast((one) => clipInput(one) >= 0), after)) break;
    chain.push(after);
  }
  return chain;
}

/**
 * Whether one loader's model goes to the next alone, and the text encoders too where both change them.
 * @param {GraphNode} first
 * @param {GraphNode} second
 * @param {GraphNode | undefined} firstWithClip the last one so far that changes the text encoders
 * @param {GraphNode | undefined} secondWithClip the next one that does
 */
function joins(first, second, firstWithClip, secondWithClip) {
  if (!kindOf(first)?.chains || !kindOf(second)?.chains || troubleOf(first) || troubleOf(second)) return false;
  if (!feedsOnly(first, "MODEL", second, modelInput(second))) return false;
  const both = firstWithClip && secondWithClip && clipInput(firstWithClip) >= 0 && clipInput(secondWithClip) >= 0;
  return !both || feedsOnly(firstWithClip, "CLIP", secondWithClip, clipInput(secondWithClip));
}

/** @param {GraphNode} from @param {string} type @param {GraphNode} to @param {number} slot */
function feedsOnly(from, type, to, slot) {
  const targets = targetsAt(from, type);
  return targets.length === 1 && targets[0].node === to && targets[0].slot === slot;
}

/**
 * The stackers whose rows a node gets, first ones first, and what is linked before them.
 * @param {GraphNode} node
 * @returns {{stackers: GraphNode[], source: Source | null}}
 */
function stackersBefore(node) {
  /** @type {GraphNode[]} */
  const stackers = [];
  let source = sourceAt(node, stackInput(node));
  while (source?.node && stackers.length < LONGEST) {
    const one = source.node;
    const alone = kindOf(one)?.role === "stacker" && targetsAt(one, "LORA_STACK").length === 1;
    if (!alone || troubleOf(one)) break;
    stackers.unshift(one);
    source = sourceAt(one, stackInput(one));
  }
  return { stackers, source };
}

/**
 * The node that uses a stacker's rows in the end.
 * @param {GraphNode} node a stacker
 * @returns {{node: GraphNode} | {reason: string}}
 */
function endOf(node) {
  let one = node;
  for (let steps = 0; steps < LONGEST; steps++) {
    const targets = targetsAt(one, "LORA_STACK");
    if (!targets.length) return { reason: t("its LORA_STACK output is not connected; connect it to a LoRA Stack first") };
    if (targets.length > 1) return { reason: t("its rows go to several nodes") };
    const { node: next, slot } = targets[0];
    if (!next || slot !== stackInput(next)) return { reason: t("it feeds neither a LoRA Stack nor a known loader") };
    const known = kindOf(next);
    const kind = known && ["loader", "applier", "stacker"].includes(known.role) ? known : undefined;
    if (next.type !== STACK && !kind) return { reason: t("it feeds neither a LoRA Stack nor a known loader") };
    const trouble = kind && troubleOf(next);
    if (trouble) return { reason: t("in the next node, {reason}", { reason: trouble }) };
    if (kind?.role !== "stacker") return { node: next };
    one = next;
  }
  return { reason: t("its LORA_STACK output is not connected; connect it to a LoRA Stack first") };
}

/**
 * What nodes hold, none of which has an obstacle.
 * @param {GraphNode[]} nodes
 * @param {(node: GraphNode) => boolean} withMode whether the rows of a bypassed node are off; else the whole stack is bypassed
 * @returns {{rows: Row[], promoted: Promoted[]}}
 */
function heldTogether(nodes, withMode) {
  const all = nodes.map((node) => {
    const held = heldBy(node);
    if ("reason" in held) throw new Error(held.reason);
    const off = node.mode === BYPASSED && withMode(node);
    return { ...held, rows: off ? held.rows.map(({ lora, ...rest }) => ({ lora, ...rest, on: false })) : held.rows };
  });
  return { rows: all.flatMap(({ rows }) => rows), promoted: all.flatMap(({ promoted }) => promoted) };
}

/** @param {GraphNode} node @param {string[]} kept types @returns {string[]} */
function lostOf(node, kept) {
  return otherOutputs(node, kept).map((slot) => slot.label || slot.name);
}
