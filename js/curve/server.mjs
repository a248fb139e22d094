// @ts-check
/** What the server says of a schedule's text. */

import { request, statusInWords } from "../base/server.mjs";
import { inWords } from "../base/words.mjs";

/** @import { Api } from "../types.d.ts" */

/**
 * @param {Api} api
 * @param {string} text in any form that Python reads
 * @param {import("../values/axis.mjs").Run} run
 * @returns {Promise<import("../values/schedule.mjs").Answer>}
 */
export async function askServer(api, text, run) {
  const { ok, status, data } = await request({ api }, "/lorchestra/schedule", { text, steps: run.steps, sigmas: run.sigmas });
  const answer = /** @type {import("../values/schedule.mjs").Answer} */ (data ?? {});
  if (!ok && !answer.error) throw new Error(statusInWords(status));
  return inWords(answer);
}
