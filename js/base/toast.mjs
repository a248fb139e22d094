// @ts-check
/** Short messages at the edge of the page, by ComfyUI's own means. */

/** @import { App } from "../types.d.ts" */

const LIFE = 6000; // milliseconds; errors stay longer
const MOST = 6; // lines

/**
 * @param {App} app
 * @param {"success" | "info" | "warn" | "error"} severity
 * @param {string} summary
 * @param {string[]} [lines]
 */
export function tell(app, severity, summary, lines = []) {
  const shown = lines.length > MOST ? [...lines.slice(0, MOST - 1), `… +${lines.length - MOST + 1}`] : lines;
  const toast = app?.extensionManager?.toast;
  const life = severity === "error" ? 2 * LIFE : LIFE + 1500 * shown.length;
  if (toast?.add) toast.add({ severity, summary, detail: shown.join("\n"), life });
  else console.warn("[Lorchestra]", summary, ...lines);
}
