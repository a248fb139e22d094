// @ts-check
/** Asks the server which rows of a whole workflow have no file, and which use a file of another name. */

import { inLanguage } from "../badges/questions.mjs";
import { ask } from "../base/server.mjs";
import { identitiesOf } from "../saving/identities.mjs";
import { STACK } from "../stack/node.mjs";
import { flat } from "../values/groups.mjs";
import { MAX_STACKS } from "../values/limits.mjs";
import { isOn, readStack, toText } from "../values/stack.mjs";
import { MISSING, usedFile } from "../values/verdicts.mjs";
import { stacksOf } from "./stacks.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @import { Row } from "../values/stack.mjs" */
/** @import { Badge, Candidate } from "../values/verdicts.mjs" */
/** @import { StackInGraph } from "./stacks.mjs" */

/**
 * One row that needs a look.
 * @typedef {object} Found
 * @property {StackInGraph} stack
 * @property {number} index
 * @property {Row} row
 * @property {Badge} badge
 * @property {boolean} missing else its file is used under another name
 * @property {boolean} counts whether the prompt needs it: the row is on, and its node takes part
 * @property {Candidate[]} candidates
 */

/**
 * @param {Comfy} comfy
 * @returns {Promise<Found[]>} the missing ones first
 */
export async function survey(comfy) {
  const stacks = stacksOf(comfy.app).map((stack) => ({ stack, text: toText(stack.widget.value) }))
    .filter(({ text }) => readStack(text).rows.length > 0).slice(0, MAX_STACKS);
  if (!stacks.length) return [];
  const asked = stacks.map(({ text }, index) => ({ node: String(index), loras: text }));
  const nodes = stacks.map(({ stack }, index) => [String(index), { class_type: STACK, inputs: stack.choices }]);
  const answer = await ask(comfy, "/lorchestra/check", { prompt: Object.fromEntries(nodes), only_found: true, stacks: asked });
  const { stacks: answers } = /** @type {{stacks: {rows: Badge[]}[]}} */ (answer);
  const found = stacks.flatMap(({ stack, text }, at) => {
    const badges = (answers[at]?.rows ?? []).map(inLanguage);
    identitiesOf(comfy.app).learn(text, badges);
    const known = readStack(text);
    const { rows } = known;
    const acting = flat(known);
    return badges.flatMap((badge, index) => rows[index] ? foundIn(stack, index, rows[index], isOn(acting[index]), badge) : []);
  });
  return [...found.filter(({ missing }) => missing), ...found.filter(({ missing }) => !missing)];
}

/**
 * @param {StackInGraph} stack
 * @param {number} index
 * @param {Row} row
 * @param {boolean} acts whether it is on, and its group
 * @param {Badge} badge
 * @returns {Found[]} one or none
 */
function foundIn(stack, index, row, acts, badge) {
  const missing = badge.state === MISSING;
  const used = usedFile(badge);
  if (!missing && !used) return [];
  const counts = stack.active && acts;
  return [{ stack, index, row, badge, missing, counts, candidates: missing ? badge.candidates : [/** @type {Candidate} */ (used)] }];
}
