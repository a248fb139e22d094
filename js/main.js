// @ts-check
/** Lorchestra's face in ComfyUI. The only file here that ComfyUI loads by itself; the `.mjs` files are its parts. */

// @ts-ignore served by ComfyUI
import { api } from "../../scripts/api.js";
// @ts-ignore served by ComfyUI
import { app } from "../../scripts/app.js";
import { showSuggested } from "./balance/suggested.mjs";
import { lastRunOf } from "./badges/refusals.mjs";
import { installCurve } from "./curve/widget.mjs";
import { convertItems } from "./convert/convert.mjs";
import { kindOf } from "./convert/loaders.mjs";
import { installDrop } from "./exchange/drop.mjs";
import { installPaste } from "./exchange/paste.mjs";
import { identitiesOf } from "./saving/identities.mjs";
import { learnAll, noticeMissing } from "./missing/missing.mjs";
import { installLibrary } from "./library/tab.mjs";
import { libraryOf, refreshLoras } from "./picker/library.mjs";
import { showDocuments } from "./result/documents.mjs";
import { showResults } from "./result/text.mjs";
import { installOldMenu } from "./base/node_menu.mjs";
import { publishCommand, publishItems, publishNodeItems, refreshPublish } from "./publish/publish.mjs";
import { applyToNewNode, settingsForComfy } from "./base/settings.mjs";
import { joinChoices, nameChoices } from "./stack/choice.mjs";
import { installSeed } from "./stack/seed.mjs";
import { LORAS_TYPE, STACK } from "./stack/node.mjs";
import { createLorasWidget, installPromotion, queuedRows, showLiveElements } from "./stack/widget.mjs";
import { loadWords, t } from "./base/words.mjs";

/** @import { Comfy, GraphNode } from "./types.d.ts" */

/** @type {Comfy} */
const comfy = { app, api };
const EXPORT = "LorchestraApiExport";
const REQUEST = "LorchestraStackFromRequest";
/**
 * Node → its text after a run.
 * @type {Map<string | undefined, import("./result/text.mjs").Result>}
 */
const RESULTS = new Map([
  [STACK, { label: () => t("Report of the last run"), about: queuedRows }],
  // The first line is the schedule, which the node's own text and its curve show already.
  ["LorchestraLoraSchedule", { label: () => t("The schedule in words"), known: 1 }],
  ["LorchestraLoraCheck", { label: () => t("What fits the model") }],
  [EXPORT, { label: () => t("What was written") }],
  ["LorchestraLoraBalance", { label: () => t("How strong the LoRAs are") }],
  ["LorchestraLoraVariants", { label: () => t("What is compared") }],
  ["LorchestraContactSheet", { label: () => t("How far the pictures differ") }],
  [REQUEST, { label: () => t("What was read") }],
]);

/** @param {GraphNode} node @returns {import("./types.d.ts").MenuItem[]} */
const itemsFor = (node) => [...convertItems(comfy, node), ...publishNodeItems(comfy, node)];
/** @param {GraphNode} node */
const addOldMenu = (node) => {
  if (kindOf(node) || publishNodeItems(comfy, node).length) installOldMenu(comfy.app, node, itemsFor);
};

comfy.app.registerExtension({
  name: "Lorchestra",
  ...publishCommand(comfy),
  settings: settingsForComfy(),
  getCustomWidgets: () => ({
    [LORAS_TYPE]: (node, name, inputData) =>
      createLorasWidget(comfy, node, name, inputData),
  }),
  nodeCreated(node) {
    const result = RESULTS.get(node.comfyClass);
    if (result) showResults(comfy.app, node, result);
    if (node.comfyClass === EXPORT) showDocuments(comfy.app, node);
    if (node.comfyClass === "LorchestraLoraBalance") showSuggested(comfy.app, node);
    if (node.comfyClass === "LorchestraLoraSchedule") installCurve(comfy, node);
    if (node.comfyClass === STACK || node.comfyClass === REQUEST) nameChoices(node);
    if (node.comfyClass === STACK) {
      applyToNewNode(comfy.app, node);
      joinChoices(comfy.app, node);
      installSeed(comfy.app, node);
      installDrop(comfy, node);
    }
    addOldMenu(node);
    if (node.isSubgraphNode?.()) installPromotion(comfy, node);
  },
  loadedGraphNode: addOldMenu,
  getNodeMenuItems: itemsFor,
  getCanvasMenuItems: () => publishItems(comfy),
  setup: () => {
    installPaste(comfy);
    lastRunOf(comfy).install();
    identitiesOf(comfy.app).install();
    libraryOf(comfy).whenHashed(() => void learnAll(comfy));
    const locale = String(comfy.app.extensionManager?.setting?.get("Comfy.Locale") ?? "");
    return loadWords(comfy.api, locale).then(() => installLibrary(comfy));
  },
  beforeConfigureGraph: (workflow) => identitiesOf(comfy.app).forget(workflow),
  afterConfigureGraph: () => {
    showLiveElements(comfy.app);
    noticeMissing(comfy);
    refreshPublish();
  },
  refreshComboInNodes: async () => { // the key R; the badges hear of it from their nodes
    await Promise.all([refreshLoras(comfy), learnAll(comfy)]);
  },
});
