// @ts-check
/**
 * The element of the LoRA Stack. It holds no value: what it shows is the host's text, and every edit is a new text for
 * the host. `state` says what there is to show, `edits` change it, `view` draws it, `actions` and `events` hear the user.
 */

import { create, useStyle } from "../base/dom.mjs";
import { holdAsRightClick } from "../base/touch.mjs";
import { t } from "../base/words.mjs";
import { createBars } from "../balance/bars.mjs";
import { createActions } from "./actions.mjs";
import { createAsking } from "./asking.mjs";
import { createCurves } from "./curves.mjs";
import { createEdits } from "./edits.mjs";
import { listenToList, listenToText } from "./events.mjs";
import { previewRows } from "./hover.mjs";
import { whenSeen } from "./seen.mjs";
import { ListState } from "./state.mjs";
import { STYLE } from "./style.mjs";
import { ListView } from "./view.mjs";
import { usedFile } from "../values/verdicts.mjs";

/** @import { Comfy, GraphNode } from "../types.d.ts" */

export const LIST_CLASS = "lorchestra-loras";
const LEAST_SCALE = 0.35; // of the canvas at which rows can be read

/**
 * @typedef {object} Host
 * @property {Comfy} comfy
 * @property {GraphNode} node
 * @property {() => string} read the value
 * @property {(text: string) => void} write takes a value that may still change
 * @property {(change: () => void) => void} step makes one step of undo out of a change; the node takes the size of its contents
 * @property {(change: () => void) => void} sized makes a change of the height that is no edit; the node follows it
 * @property {() => import("../values/verdicts.mjs").Model | null} model of the node, for the picker; null where it is not known
 * @property {() => Promise<import("./insert.mjs").Field | null>} prompt the one text with its prompt; null where it is not known
 * @property {() => string | undefined} seed by which groups pick; nothing where it is not known
 * @property {(pick: "all" | "one" | "next") => void} control lets the seed change after each run as a group needs it
 * @property {(row: import("../values/stack.mjs").Row) => Promise<import("../blocks/editor.mjs").Layout>} blocks of the model, and what a row's LoRA changes in them
 * @property {() => void} onShown called when the value was shown, which may have changed
 * @property {() => void} onBuilt called when the list is seen for the first time
 */

/**
 * @param {Host} host
 */
export function createStackList(host) {
  useStyle("stack", STYLE);
  const element = create("div", { class: `lorchestra ${LIST_CLASS}`, role: "group", "aria-label": t("LoRAs") });
  const state = new ListState(host.read, host.seed);
  const view = new ListView(
    element, state, createCurves(host.comfy.api, host.node, () => view.showRows()), createBars(host.comfy, host.node, () => view.showRows()));
  const asking = createAsking(host.comfy, (text, stack) => {
    state.learn(text, stack);
    view.show();
  });
  /** Shows the host's value. */
  const render = () => {
    state.refresh();
    if (view.parts) asking.about(state);
    view.show();
    host.onShown();
  };
  element.addEventListener("lorchestra-seed", () => view.show());
  const edits = createEdits(state, host, render);
  const actions = createActions({ host, state, edits, view });
  const build = () => {
    const { text } = view.build(actions.head, actions.row, actions.group);
    listenToText(text, host.read, edits);
    listenToList(view, edits, actions);
    holdAsRightClick(element);
    previewRows(host.comfy, element, (name) => {
      const index = view.rows.findIndex((row) => row.element.contains(name));
      return usedFile(state.badges[index])?.name ?? state.rows[index]?.lora ?? "";
    });
  };

  /** @type {(() => void) | undefined} */
  let stopSeeing;
  const stop = () => {
    stopSeeing?.();
    stopSeeing = undefined;
  };
  render();
  return {
    element,
    render,
    height: () => state.height,
    /** Waits until the element is seen, and then builds what is in it. */
    start() {
      stop();
      if (view.parts) {
        host.onBuilt();
        return;
      }
      stopSeeing = whenSeen(element, () => host.comfy.app.canvas.ds.scale >= LEAST_SCALE, () => {
        if (!view.parts) build();
        render();
        host.onBuilt();
      });
    },
    stop,
    /** @param {(import("../values/verdicts.mjs").Badge | undefined)[]} badges by row */
    showBadges(badges) {
      const known = state.badges;
      const before = state.height;
      const show = () => {
        state.badges = badges;
        view.show();
      };
      state.badges = badges;
      const isOther = state.height !== before;
      state.badges = known;
      if (isOther) host.sized(show);
      else show();
      actions.noticeModel();
    },
  };
}
