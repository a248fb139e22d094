// @ts-check
/** What the exchange asks of the server. */

import { t } from "./words.mjs";

/** @import { Comfy } from "../types.d.ts" */

/**
 * @param {Pick<Comfy, "api">} comfy
 * @param {string} path
 * @param {unknown} body
 * @returns {Promise<any>} the answer; its error as an Error with our sentence
 */
export async function post({ api }, path, body) {
  let answer;
  try {
    answer = await api.fetchApi(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Error(t("the server cannot be reached"));
  }
  const data = await answer.json().catch(() => null);
  if (!answer.ok || !data) throw new Error(data?.error || t("the server answered with the error {status}", { status: answer.status }));
  return data;
}

/**
 * @param {Pick<Comfy, "api">} comfy
 * @returns {Promise<string[]>} the LoRAs as ComfyUI lists them; none where they cannot be had
 */
export async function listLoras({ api }) {
  try {
    const answer = await api.fetchApi("/models/loras");
    const names = answer.ok ? await answer.json() : [];
    return Array.isArray(names) ? names : [];
  } catch {
    return [];
  }
}
