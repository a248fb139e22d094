// @ts-check
/** Requests to the server, whose answers are JSON; what goes wrong is an error in our words. */

import { inWords, t } from "./words.mjs";

/** @import { Comfy } from "../types.d.ts" */

/**
 * @typedef {object} Answer
 * @property {boolean} ok
 * @property {number} status
 * @property {unknown} data null where the answer is not JSON
 */

/**
 * @param {Pick<Comfy, "api">} comfy
 * @param {string} path
 * @param {unknown} [body] makes it a POST
 * @param {AbortSignal} [signal] of a POST; it throws when it is aborted
 * @returns {Promise<Answer>}
 */
export async function request(comfy, path, body, signal) {
  const options = body === undefined ? undefined : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
  };
  const answer = await reach(comfy, path, options);
  return { ok: answer.ok, status: answer.status, data: await answer.json().catch(() => null) };
}

/**
 * @param {Pick<Comfy, "api">} comfy
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} whatever the server answers
 */
export async function reach({ api }, path, options) {
  try {
    return await api.fetchApi(path, options);
  } catch {
    throw new Error(t("the server cannot be reached"));
  }
}

/**
 * The data of an answer. Where the server refuses, its sentence becomes an Error.
 * @param {Pick<Comfy, "api">} comfy
 * @param {string} path
 * @param {unknown} [body] makes it a POST
 * @param {AbortSignal} [signal] of a POST; it throws when it is aborted
 * @returns {Promise<unknown>}
 */
export async function ask(comfy, path, body, signal) {
  const { ok, status, data } = await request(comfy, path, body, signal);
  if (!ok || !data) throw new Error(errorIn(data) || statusInWords(status));
  return data;
}

/** @param {unknown} data @returns {string | undefined} what the server says went wrong */
function errorIn(data) {
  return inWords(/** @type {{error?: string}} */ (data))?.error;
}

/** @param {number} status */
export function statusInWords(status) {
  return t("the server answered with error {status}", { status });
}

/**
 * @param {Pick<Comfy, "api">} comfy
 * @returns {Promise<string[]>} the LoRAs as ComfyUI lists them; empty if they cannot be listed
 */
export async function listLoras(comfy) {
  const names = await ask(comfy, "/models/loras").catch(() => []);
  return Array.isArray(names) ? names : [];
}
