// @ts-check
/** Whether presets fit the model that a node is connected to, in one question for all of them. */

import { pruned } from "../badges/graph.mjs";
import { completed } from "../badges/inactive.mjs";
import { findPlaces } from "../badges/places.mjs";
import { rootOf } from "../base/graph.mjs";
import { ask } from "../base/server.mjs";
import { t } from "../base/words.mjs";
import { flat } from "../values/groups.mjs";
import { problemsInWords, problemsOf } from "../values/problems.mjs";
import { EMPTY, isOn, readStack, writeStack } from "../values/stack.mjs";
import { FITS, PARTLY } from "../values/verdicts.mjs";

/** @import { Comfy, GraphNode } from "../types.d.ts" */
/** @import { Badge } from "../values/verdicts.mjs" */
/** @import { Preset } from "../values/preset.mjs" */

const MOST = 100; // presets, and rows of all of them are at most
const MOST_ROWS = 1000;

/**
 * @param {Comfy} comfy
 * @param {GraphNode} node
 * @param {Preset[]} presets
 * @returns {Promise<Map<string, {words: string, colour: string}>>} by name; without those of which nothing is known
 */
export async function checkFit(comfy, node, presets) {
  const [place] = findPlaces(rootOf(comfy.app), [{ node }]);
  let room = MOST_ROWS;
  const asked = presets.filter(({ problem, stack: { rows } }) => !problem && rows.length && (room -= rows.length) >= 0).slice(0, MOST);
  if (!place || !asked.length) return new Map();
  const { output = {} } = (await comfy.app.graphToPrompt()) ?? {};
  const prompt = pruned(completed(output, [place]), [place.id]);
  const stacks = asked.map(({ stack }) => ({ node: place.id, loras: writeStack({ ...readStack(EMPTY), more: stack.more }, stack.rows) }));
  const answer = /** @type {{stacks: ({rows: Badge[]} | undefined)[]}} */ (await ask(comfy, "/lorchestra/check", { prompt, stacks }));
  return new Map(asked.flatMap(({ name, stack }, index) => {
    const said = inWords(flat(stack), answer.stacks[index]?.rows ?? []);
    return said ? [[name, said]] : [];
  }));
}

/**
 * @param {import("../values/stack.mjs").Row[]} rows as they act
 * @param {Badge[]} badges by row
 */
function inWords(rows, badges) {
  const words = problemsInWords(problemsOf(rows, badges));
  if (words) return { words, colour: "bad" };
  const states = rows.flatMap((row, index) => (isOn(row) ? [badges[index]?.state] : []));
  if (!states.length || states.some((state) => state !== FITS && state !== PARTLY)) return undefined;
  return states.includes(PARTLY) ? { words: t("Fits in part"), colour: "warn" } : { words: t("Fits the model"), colour: "good" };
}
