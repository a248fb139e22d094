// @ts-check
/** The curve editor in a pop-up, for the schedule of a row. */

import { create, useStyle } from "../base/dom.mjs";
import { openPopup } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { createCurveEditor } from "./editor.mjs";
import { runAfter } from "./run.mjs";
import { askServer } from "./server.mjs";

/** @import { Comfy, GraphNode } from "../types.d.ts" */

const STYLE = `
.lorchestra-curve-popover { width: 420px; max-width: calc(100vw - 18px); padding: 10px; display: flex; flex-direction: column; gap: 6px; }
.lorchestra-curve-head { display: flex; align-items: center; gap: 8px; }
.lorchestra-curve-head strong { flex: 1; font-weight: 600; }
.lorchestra-curve-popover .lorchestra-curve { height: 290px; }
`;

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {import("../base/popup.mjs").Anchor} options.anchor
 * @param {string} options.text the row's schedule; empty where it has none
 * @param {(text: string) => void} [options.onChange] while the schedule is being edited
 * @param {(text: string) => void} [options.onCommit] when an edit is done; in one step of undo with its changes
 * @param {() => void} [options.onClose]
 * @param {GraphNode} [options.node] the row's node, whose sampler's steps are shown
 * @returns {{close: () => void}}
 */
export function openCurve({ app, api }, { anchor, text, onChange, onCommit, onClose, node }) {
  useStyle("curvePopover", STYLE);
  let current = text;
  let committed = text;
  const commit = () => {
    if (current === committed) return;
    committed = current;
    onCommit?.(current);
  };
  const run = () => (node ? runAfter(node) : {});
  const editor = createCurveEditor({
    read: () => ({ text: current }),
    write: (value) => {
      if (value === current) return;
      current = value;
      onChange?.(value);
    },
    choose: (name) => {
      current = name;
      onChange?.(name);
    },
    begin: () => app.canvas?.emitBeforeChange?.(),
    finish: () => {
      try {
        commit();
      } finally {
        app.canvas?.emitAfterChange?.();
      }
    },
    ask: (value) => askServer(api, value, run()),
    run,
    withText: true,
    whenEmpty: t("No schedule: the same weight at every step"),
  });
  const none = create("button", {
    type: "button", class: "lorchestra-button", text: t("No schedule"), title: t("The same weight at every step"),
    onclick: () => {
      current = "";
      onChange?.("");
      commit();
      popup.close();
    },
  });
  const popup = openPopup({
    anchor,
    label: t("Schedule of the row"),
    element: create("div", { class: "lorchestra-curve-popover" },
      create("div", { class: "lorchestra-curve-head" }, create("strong", { text: t("Schedule") }), none), editor.element),
    onClose: () => {
      editor.destroy();
      commit();
      onClose?.();
    },
  });
  editor.render();
  return { close: popup.close };
}
