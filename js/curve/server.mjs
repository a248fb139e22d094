// @ts-check
/** What the server says of a schedule's text. */

import { t } from "../base/words.mjs";

/** @import { Api } from "../types.d.ts" */

/**
 * @param {Api} api
 * @param {string} text in any form that Python reads
 * @param {import("../values/axis.mjs").Run} run
 * @returns {Promise<import("../values/schedule.mjs").Answer>}
 */
export async function askServer(api, text, run) {
  const answer = await api.fetchApi("/lorchestra/schedule", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text, steps: run.steps, sigmas: run.sigmas }),
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok && !found?.error) throw new Error(t("the server answered with the error {status}", { status: answer.status }));
  return found;
}
