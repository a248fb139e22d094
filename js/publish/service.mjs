// @ts-check
/** Requests to the service of published workflows, with the token where it has one; it is kept as long as the tab is open. */

import { reach, statusInWords } from "../base/server.mjs";
import { t } from "../base/words.mjs";

/** @import { Comfy } from "../types.d.ts" */

const MOUNT = "/lorchestra";
const KEY = "Lorchestra.ServiceToken";
/** @type {string | null} where the browser keeps nothing */
let kept = null;

/** What the service refuses. */
export class Refused extends Error {
  /**
   * @param {string} message
   * @param {number} status of HTTP
   * @param {string} path of the field that is to blame; empty if no single one is
   */
  constructor(message, status, path) {
    super(message);
    this.status = status;
    this.path = path;
  }
}

/**
 * @param {Comfy} comfy
 * @param {string} method
 * @param {string} path below the service, e.g. `/workflows`
 * @param {string} [body] JSON
 * @returns {Promise<unknown>} the answer's data; throws `Refused`
 */
export async function call(comfy, method, path, body) {
  const answer = await send(comfy, method, path, body);
  return answer.json();
}

/**
 * @param {Comfy} comfy
 * @param {string} id of an asset
 * @returns {Promise<Blob>} throws `Refused`
 */
export async function readAsset(comfy, id) {
  const answer = await send(comfy, "GET", `/api/v2/assets/${encodeURIComponent(id)}/content`);
  return answer.blob();
}

/** @param {Comfy} comfy @param {string} method @param {string} path @param {string} [body] @returns {Promise<Response>} */
async function send(comfy, method, path, body) {
  const token = readToken();
  const headers = {
    ...(body !== undefined && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }),
  };
  const answer = await reach(comfy, MOUNT + path, { method, headers, body });
  if (answer.ok) return answer;
  const data = /** @type {{error?: {message?: string, details?: {path?: string} | null}} | null} */ (await answer.json().catch(() => null));
  const at = data?.error?.details?.path ?? "";
  const said = data?.error?.message || statusInWords(answer.status);
  throw new Refused(at && said.startsWith(`${at}: `) ? said.slice(at.length + 2) : said, answer.status, at);
}

/** @param {Comfy} comfy @returns {string} where clients reach the service, as far as this page knows */
export function baseUrl({ api }) {
  const path = api.fileURL?.(MOUNT) ?? api.apiURL(MOUNT);
  return new URL(path, globalThis.location.href).href;
}

/** @returns {string} the token that was given in this tab; empty without one */
export function readToken() {
  try {
    return sessionStorage.getItem(KEY) ?? kept ?? "";
  } catch {
    return kept ?? "";
  }
}

/** @param {string} token */
export function keepToken(token) {
  kept = token;
  try {
    sessionStorage.setItem(KEY, token);
  } catch { // a browser that keeps nothing
  }
}

/** @param {unknown} error @returns {string} why something was not done */
export function reasonOf(error) {
  if (!(error instanceof Error)) return String(error);
  return error instanceof Refused && error.status === 413 ? t("The request is too large: {reason}", { reason: error.message }) : error.message;
}
