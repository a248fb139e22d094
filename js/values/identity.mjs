// @ts-check
/**
 * What rows say of their files beside the name: the SHA-256 and the AIR. What of it goes into a saved workflow, what a
 * choice of another file changes, and which file is certain enough to be taken without a look. No DOM, no ComfyUI.
 */

import { isObject } from "./json.mjs";
import { readStack, writeStack } from "./stack.mjs";

/** @import { Row, Changes } from "./stack.mjs" */
/** @import { Candidate } from "./verdicts.mjs" */

/**
 * What a file is known by.
 * @typedef {object} Identity
 * @property {string | null} sha256
 * @property {string | null} air
 */

/** Kinds of candidates that are certain where there is one of them; the surest first. */
const CERTAIN = ["used", "content", "said", "air", "name"];
/** Those whose content is the one that the row says. */
const SAME_CONTENT = ["used", "content", "said"];

/**
 * A stack's text with what is known of its rows' files. What a row says itself stays; a text that is no JSON of ours
 * too, and one to which there is nothing to add.
 * @param {string} text
 * @param {ReadonlyMap<string, Identity>} identities by the rows' LoRAs, of files that have the path that the row says
 * @returns {string}
 */
export function withIdentities(text, identities) {
  if (!identities.size || !text.trimStart().startsWith("{")) return text;
  const stack = readStack(text);
  if (stack.error) return text;
  const rows = stack.rows.map((row) => withIdentity(row, identities.get(row.lora)));
  return rows.every((row, index) => row === stack.rows[index]) ? text : writeStack(stack, rows);
}

/**
 * @param {Row} row
 * @param {Identity | undefined} known
 * @returns {Row} the same object where there is nothing to add
 */
function withIdentity(row, known) {
  if (!known) return row;
  const { sha256: ownHash, air: ownAir, ...rest } = row;
  const isOther = ownHash ? ownHash.toLowerCase() !== known.sha256 : Boolean(row.hash);
  const sha256 = ownHash || (row.hash ? null : known.sha256);
  const air = ownAir || (isOther ? null : known.air);
  if ((ownHash || !sha256) && (ownAir || !air)) return row;
  return { ...rest, ...(sha256 && { sha256 }), ...(air && { air }) }; // in one order, whichever became known first
}

/**
 * Changes the texts of all LoRA Stacks in a saved workflow, in place: those of the nodes, and those that were promoted to
 * subgraphs' nodes.
 * @param {unknown} workflow as ComfyUI serializes it
 * @param {string} kind of our node
 * @param {(text: string) => string} change
 */
export function changeStacks(workflow, kind, change) {
  const graphs = graphsIn(workflow);
  const kinds = new Set([kind, ...graphs.map(({ id }) => id)]);
  for (const graph of graphs) {
    for (const node of listIn(graph.nodes)) {
      if (!kinds.has(node.type)) continue;
      for (const values of [node.widgets_values, node.widgets_values_named]) changeTexts(values, change);
    }
  }
}

/**
 * A workflow and the subgraphs that it defines.
 * @param {unknown} workflow
 * @returns {Record<string, unknown>[]}
 */
function graphsIn(workflow) {
  if (!isObject(workflow)) return [];
  const graphs = [workflow];
  for (const graph of graphs) {
    if (isObject(graph.definitions)) graphs.push(...listIn(graph.definitions.subgraphs));
  }
  return graphs;
}

/** @param {unknown} value @returns {Record<string, unknown>[]} */
function listIn(value) {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** @param {unknown} values of a node's widgets @param {(text: string) => string} change */
function changeTexts(values, change) {
  if (typeof values !== "object" || values === null) return;
  const all = /** @type {Record<string, unknown>} */ (values);
  for (const [key, value] of Object.entries(all)) if (typeof value === "string") all[key] = change(value);
}

/**
 * What changes in a row when it names this file from now on: its hash and its AIR are the file's, as far as they are
 * known; what the row said before goes, unless it is true of the file.
 * @param {Row} row
 * @param {Candidate} file
 * @returns {Changes}
 */
export function adopting(row, { name, by, sha256, air }) {
  const same = SAME_CONTENT.includes(by) || (Boolean(sha256) && row.sha256?.toLowerCase() === sha256);
  return {
    lora: name,
    sha256: sha256 ?? (same ? row.sha256 : null) ?? undefined,
    air: air ?? (same || by === "tensors" ? row.air : null) ?? undefined,
    hash: same && !sha256 ? row.hash : undefined,
  };
}

/**
 * The file that a row means beyond doubt: the only one with its content, else its AIR, else its name, and none that is
 * known to have another content.
 * @param {Row} row
 * @param {Candidate[]} candidates
 * @returns {Candidate | undefined}
 */
export function certainOf(row, candidates) {
  const wanted = row.sha256?.length === 64 ? row.sha256.toLowerCase() : "";
  const possible = candidates.filter(({ sha256 }) => !wanted || !sha256 || sha256 === wanted);
  for (const kind of CERTAIN) {
    const alike = possible.filter(({ by }) => by === kind);
    if (alike.length) return alike.length === 1 ? alike[0] : undefined;
  }
  return undefined;
}
