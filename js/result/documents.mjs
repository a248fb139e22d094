// @ts-check
/** Buttons that copy what API Export wrote of the workflow: its documents, and programs that call it. */

import { addShownWidget, after, makeRoom, MARGIN } from "../base/canvas.mjs";
import { writeToClipboard } from "../base/clipboard.mjs";
import { create, ROOT_CLASS, useStyle } from "../base/dom.mjs";
import { tell } from "../base/toast.mjs";
import { t } from "../base/words.mjs";

/** @import { App, HookedNode } from "../types.d.ts" */

const TYPE = "LORCHESTRA_DOCUMENTS";
const NAME = "lorchestra_documents";
const LINE_HEIGHT = 28; // of a button, with the gap below it
const WIDTHS = 78; // of a button, on average
const STYLE = `
.lorchestra-documents { display: flex; flex-wrap: wrap; align-items: center; gap: 4px; width: 100%; overflow: hidden; }
.lorchestra-documents .lorchestra-button { height: 24px; padding: 0 8px; line-height: 1; }
`;

/** @typedef {{id: string, text: string}} Document as the node's `ui` says it */

/** Document → what stands on its button. */
const LABELS = new Map([
  ["schema", () => t("Schema")],
  ["openapi", () => t("OpenAPI")],
  ["request", () => t("Request")],
  ["curl", () => "curl"],
  ["python", () => "Python"],
]);

/**
 * Shows a button for each document of the last run.
 * @param {App} app
 * @param {HookedNode} node
 */
export function showDocuments(app, node) {
  /** @type {HTMLElement | undefined} */
  let bar;
  let lines = 0;
  after(node, "onExecuted", (value) => {
    const { documents } = /** @type {{documents?: Document[]}} */ (value ?? {});
    const shown = Array.isArray(documents) ? documents : [];
    if (!bar && !shown.length) return;
    bar ??= addBar(app, node, () => (lines ? lines * LINE_HEIGHT + 2 * MARGIN : 0));
    bar.replaceChildren(...shown.flatMap((one) => buttonFor(app, one)));
    bar.style.display = shown.length ? "flex" : "none";
    const perLine = Math.max(Math.floor((node.size[0] - 2 * MARGIN) / WIDTHS), 1);
    lines = Math.ceil(shown.length / perLine);
    makeRoom(node);
  });
}

/**
 * @param {App} app
 * @param {Document} document
 * @returns {HTMLElement[]} none for a document that this version does not know
 */
function buttonFor(app, { id, text }) {
  const label = LABELS.get(id)?.();
  if (!label) return [];
  const copy = async () => {
    const done = await writeToClipboard(text);
    if (done) tell(app, "success", t("Copied: {text}", { text: label }));
    else tell(app, "error", t("The browser does not allow copying"));
  };
  const named = t("Copy {text}", { text: label });
  return [create("button", { type: "button", class: "lorchestra-button", text: label, title: named, "aria-label": named, onclick: copy })];
}

/**
 * @param {App} app
 * @param {HookedNode} node
 * @param {() => number} least height
 * @returns {HTMLElement}
 */
function addBar(app, node, least) {
  useStyle("documents", STYLE);
  const element = create("div", {
    class: `${ROOT_CLASS} lorchestra-documents`, role: "group", "aria-label": t("Copy the workflow as an API"),
  });
  addShownWidget(app, node, { name: NAME, type: TYPE, element, least, most: least });
  return element;
}
