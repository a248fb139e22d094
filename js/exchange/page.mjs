// @ts-check
/** ComfyUI as the page has it, for what is not handed it. */

/** @returns {{app: any, api: any}} */
export function comfyOfPage() {
  const { app, api } = /** @type {any} */ (globalThis).comfyAPI;
  return { app: app.app, api: api.api };
}
