// @ts-check
/** The head of a group of rows: its name, one switch and one factor for all of them, and which of them act. */

import { create, icon, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { factorOf, isGroupName } from "../values/groups.mjs";
import { createWeight } from "./weight.mjs";
import { ICONS } from "./style.mjs";

/** @typedef {import("../values/groups.mjs").Group} Group */

/**
 * @typedef {object} GroupActions what the head of a group asks for, by the group's name
 * @property {(name: string) => void} toggle
 * @property {(name: string) => void} fold or unfold
 * @property {(name: string, factor: number, live: boolean) => void} multiply
 * @property {() => void} settle
 * @property {() => number} step
 * @property {(name: string, next: string) => void} rename
 * @property {(name: string, anchor: HTMLElement | {x: number, y: number}) => void} menu
 */

/** @param {"all" | "one" | "next"} pick */
export function pickInWords(pick) {
  return { all: t("all"), one: t("one at random"), next: t("the next one each run") }[pick];
}

/** @param {GroupActions} actions */
export function createGroup(actions) {
  let name = "";
  const fold = create("button", { type: "button", class: "lorchestra-more lorchestra-group-fold", onclick: () => actions.fold(name) });
  const toggle = create("button", { type: "button", class: "lorchestra-switch", role: "switch", onclick: () => actions.toggle(name) });
  const title = create("button", {
    type: "button", class: "lorchestra-group-name", dir: "auto", title: t("Rename the group"), onclick: () => rename(),
  });
  const count = create("span", { class: "lorchestra-group-count lorchestra-quiet" });
  const pick = create("button", {
    type: "button", class: "lorchestra-tag", "aria-haspopup": "menu", onclick: () => actions.menu(name, pick),
  });
  const factor = createWeight({
    step: actions.step,
    live: (value) => actions.multiply(name, value, true),
    commit: (value) => actions.multiply(name, value, false),
    settle: actions.settle,
    reset: () => actions.multiply(name, 1, false),
  });
  const more = create("button", {
    type: "button", class: "lorchestra-more", "aria-haspopup": "menu", title: t("More"), onclick: () => actions.menu(name, more),
  }, icon(ICONS.more));
  const element = create("div", { class: "lorchestra-group", role: "listitem" }, fold, toggle, title, count, pick, factor.element, more);
  element.addEventListener("contextmenu", (event) => {
    if (/** @type {Element} */ (event.target).closest("input")) return;
    event.preventDefault();
    event.stopPropagation();
    actions.menu(name, { x: event.clientX, y: event.clientY });
  });

  const rename = () => {
    const field = create("input", { class: "lorchestra-group-input", type: "text", value: name, "aria-label": t("Name of the group"), spellcheck: false });
    const was = name;
    let done = false;
    const close = (/** @type {boolean} */ keep, /** @type {boolean} */ focus) => {
      if (done) return;
      done = true;
      field.replaceWith(title);
      if (focus) title.focus({ preventScroll: true });
      const next = field.value.trim();
      if (keep && next !== was && isGroupName(next)) actions.rename(was, next);
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      close(event.key === "Enter", true);
    });
    for (const kind of ["keyup", "copy", "cut", "paste"]) field.addEventListener(kind, (event) => event.stopPropagation());
    field.addEventListener("blur", () => close(field.isConnected, false));
    title.replaceWith(field);
    field.focus({ preventScroll: true });
    field.select();
  };

  return {
    element,
    rename,
    /** @param {Group} group @param {number} rows how many it has @param {string | undefined} chosen the LoRA that it picks */
    show(group, rows, chosen) {
      name = group.name;
      const isOn = group.on !== false;
      const how = group.pick ?? "all";
      element.classList.toggle("lorchestra-group-off", !isOn);
      setAttribute(element, "aria-label", t("Group {name}", { name }));
      setAttribute(fold, "aria-expanded", !group.folded);
      setAttribute(fold, "aria-label", t("Rows of {name}", { name }));
      fold.title = group.folded ? t("Show the rows") : t("Hide the rows");
      fold.replaceChildren(icon(group.folded ? ICONS.closed : ICONS.open));
      setAttribute(toggle, "aria-checked", isOn);
      setAttribute(toggle, "aria-label", t("{name} is on", { name }));
      toggle.title = isOn ? t("On: press to switch off") : t("Off: press to switch on");
      title.textContent = name;
      count.textContent = chosen !== undefined ? `→ ${chosen}` : `${rows}`;
      count.title = chosen !== undefined ? t("Picked for the next run: {name}", { name: chosen }) : "";
      pick.hidden = how === "all";
      pick.textContent = how === "one" ? t("random") : t("next");
      pick.title = pickInWords(how);
      setAttribute(pick, "aria-label", pick.title);
      factor.show({ value: factorOf(group), label: t("Factor of {name}", { name }), letter: "×" });
      setAttribute(more, "aria-label", t("More for {name}", { name }));
    },
  };
}
