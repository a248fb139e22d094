// @ts-check
/** The library of LoRAs in ComfyUI's sidebar, which can fill the window. */

import { create, ROOT_CLASS, setAttribute, useStyle } from "../base/dom.mjs";
import { nodesOf } from "../base/graph.mjs";
import { t } from "../base/words.mjs";
import { LORAS_DRAG } from "../exchange/drop.mjs";
import { badgesOf } from "../stack/widget.mjs";
import { lorasWidget } from "../stack/node.mjs";
import { addToWorkflow, installCanvasDrop } from "./adding.mjs";
import { STYLE } from "./style.mjs";

/** @import { Comfy } from "../types.d.ts" */

const TAB = "lorchestra-library";

/**
 * Adds the tab to ComfyUI's sidebar. What it shows is loaded when it is opened first.
 * @param {Comfy} comfy
 */
export function installLibrary(comfy) {
  installCanvasDrop(comfy);
  /** @type {(() => void) | undefined} */
  let close;
  comfy.app.extensionManager?.registerSidebarTab?.({
    id: TAB, icon: "pi pi-images", title: t("LoRAs"), tooltip: t("LoRA library"), type: "custom",
    render(/** @type {HTMLElement} */ place) {
      close?.();
      close = openLibrary(comfy, place);
    },
    destroy() {
      close?.();
      close = undefined;
    },
  });
}

/**
 * @param {Comfy} comfy
 * @param {HTMLElement} place
 * @returns {() => void} closes it
 */
function openLibrary(comfy, place) {
  useStyle("library", STYLE);
  const root = create("div", { class: `${ROOT_CLASS} lorchestra-library`, role: "region", "aria-label": t("LoRA library") });
  place.style.height = "100%";
  place.append(root);
  let closed = false;
  /** @type {(() => void) | undefined} */
  let closeView;
  void Promise.all([
    import("../picker/browser.mjs"), import("./filters.mjs"), import("./details.mjs"), import("../info/card.mjs"),
  ]).then(([{ createBrowser }, { createLibraryFilters }, { createLibraryDetails }, { openInfoCard }]) => {
    if (closed) return;
    const filters = createLibraryFilters(() => browser.entries(), () => browser.refilter());
    const details = createLibraryDetails(comfy, {
      add: (names) => void addToWorkflow(comfy, names),
      inform: (lora, anchor) => void openInfoCard(comfy, { anchor, lora }),
    });
    const browser = createBrowser(comfy, {
      selects: true, also: filters.filter, onClear: filters.clear,
      onSelect: () => details.show(browser.selected(), browser.active()),
      onChoose: (names) => void addToWorkflow(comfy, names),
      onDrag(event, names) {
        event.dataTransfer?.setData(LORAS_DRAG, JSON.stringify(names));
        event.dataTransfer?.setData("text/plain", names.join("\n"));
        setTimeout(() => root.classList.add("lorchestra-library-dragging"), 0); // or the drag would end at once
      },
    });
    root.addEventListener("dragend", () => root.classList.remove("lorchestra-library-dragging"));
    const wide = create("button", {
      type: "button", class: "lorchestra-button lorchestra-library-wider", text: t("Full window"), "aria-pressed": false,
      onclick: () => widen(!root.classList.contains("lorchestra-library-wide")),
    });
    /** @param {boolean} on */
    const widen = (on) => {
      root.classList.toggle("lorchestra-library-wide", on);
      setAttribute(wide, "aria-pressed", on);
      const { left, top } = place.getBoundingClientRect(); // beside the sidebar, below the menu
      Object.assign(root.style, on ? { insetInlineStart: `${left}px`, top: `${top}px` } : { insetInlineStart: "", top: "" });
      (on ? document.body : place).append(root);
      browser.search.focus({ preventScroll: true });
    };
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && root.classList.contains("lorchestra-library-wide")) widen(false);
      event.stopPropagation(); // ComfyUI's keys are for the canvas
    });
    browser.search.after(wide);
    browser.element.querySelector(".lorchestra-picker-chips")?.after(filters.element);
    root.append(browser.element, details.element, browser.preview);
    browser.start();
    const showModel = async () => browser.setModel(await modelInGraph(comfy));
    root.addEventListener("focusin", () => void showModel());
    void showModel();
    closeView = () => {
      browser.close();
      details.close();
    };
  });
  return () => {
    closed = true;
    closeView?.();
    root.remove();
  };
}

/**
 * The model of the first stack on the canvas of which one is known.
 * @param {Comfy} comfy
 */
async function modelInGraph(comfy) {
  const badges = await badgesOf(comfy);
  for (const node of comfy.app.canvas.graph ? nodesOf(comfy.app.canvas.graph) : []) {
    const widget = lorasWidget(node);
    const model = widget && badges?.modelOf(node, node.subgraph ? widget.name : undefined);
    if (model) return model;
  }
  return null;
}
