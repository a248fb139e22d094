// @ts-check
/** Asks by what the files of rows are known that the server has not told of yet. */

import { ask } from "../base/server.mjs";
import { identitiesOf } from "./identities.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @import { Badge } from "../values/verdicts.mjs" */

const PATIENCE = 2000; // milliseconds; without an answer, what is known by now has to do

/**
 * @param {Comfy} comfy
 * @param {string} text of a stack
 */
export async function learnRows(comfy, text) {
  const identities = identitiesOf(comfy.app);
  if (identities.knows(text)) return;
  const asked = { prompt: null, stacks: [{ node: "0", loras: text }] };
  const answer = await ask(comfy, "/lorchestra/check", asked, AbortSignal.timeout(PATIENCE)).catch(() => null);
  const { stacks } = /** @type {{stacks?: {rows?: Badge[]}[]}} */ (answer ?? {});
  identities.learn(text, stacks?.[0]?.rows ?? []);
}
