// @ts-check
/** "Publish as API" in the menus; the panel is loaded when it is asked for. */

import { t } from "../base/words.mjs";

/** @import { Comfy, GraphNode, MenuItem } from "../types.d.ts" */

const ID = "Lorchestra.PublishAsApi";
const EXPORT = "LorchestraApiExport";
/** @type {import("./panel.mjs").Panel | undefined} the open one */
let panel;

/**
 * The command, for ComfyUI's list of commands, its keys and its menu.
 * @param {Comfy} comfy
 */
export function publishCommand(comfy) {
  return {
    // ComfyUI translates the label itself, by the id.
    commands: [{ id: ID, label: "Publish as API", icon: "pi pi-cloud-upload", function: () => void openPublish(comfy) }],
    menuCommands: [{ path: ["File"], commands: [ID] }],
  };
}

/** @param {Comfy} comfy @returns {(MenuItem | null)[]} the canvas's part of its menu */
export function publishItems(comfy) {
  return [null, publishItem(comfy)];
}

/** @param {Comfy} comfy @param {GraphNode} node @returns {MenuItem[]} the node's part of its menu */
export function publishNodeItems(comfy, node) {
  return node.comfyClass === EXPORT ? [publishItem(comfy)] : [];
}

/** @param {Comfy} comfy @returns {MenuItem} */
function publishItem(comfy) {
  return { content: t("Publish as API"), callback: () => void openPublish(comfy) };
}

/** @param {Comfy} comfy */
export async function openPublish(comfy) {
  const { openPanel } = await import("./panel.mjs");
  if (panel) panel.focus();
  else panel = openPanel(comfy, { onClose: () => { panel = undefined; } });
}

/** To be called when a workflow has been loaded, also by undo. */
export function refreshPublish() {
  panel?.refresh();
}
