// @ts-check
/** One row of the list: its element, and how it shows a LoRA. */

import { create, icon, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { formatWeight, splitName } from "../values/numbers.mjs";
import { refusalOf } from "../values/problems.mjs";
import { clipWeight, isOn, modelWeight } from "../values/stack.mjs";
import { BROKEN, FITS, MISFIT, MISSING, NOT_A_LORA, offerFor, PARTLY, UNKNOWN, usedFile } from "../values/verdicts.mjs";
import { blocksOf } from "../values/blocks.mjs";
import { chosenWords, lackOf } from "../values/triggers.mjs";
import { createWords } from "./chips.mjs";
import { ICONS } from "./style.mjs";
import { createTrouble } from "./trouble.mjs";
import { createWeight } from "./weight.mjs";

/**
 * @typedef {object} RowActions what a row asks for; it is told nothing but its number
 * @property {(index: number) => void} toggle
 * @property {(index: number, anchor: HTMLElement) => void} pick
 * @property {(index: number, anchor: HTMLElement) => void} explain
 * @property {(index: number, file: import("../values/verdicts.mjs").Candidate) => void} use takes the file that a row is to name
 * @property {(index: number, anchor: HTMLElement) => void} schedule
 * @property {(index: number) => void} blocks opens the weights per block
 * @property {(index: number, anchor: HTMLElement | {x: number, y: number}) => void} menu
 * @property {(index: number, event: PointerEvent) => void} lift
 * @property {(index: number, key: "model" | "clip", value: number, live: boolean) => void} weigh
 * @property {(index: number, key: "model" | "clip") => void} reset
 * @property {() => void} settle
 * @property {() => number} step
 * @property {(index: number) => void} showWords or hides them
 * @property {(index: number, word: string) => void} chooseWord or not any more
 * @property {(index: number, word: string, anchor: HTMLElement | {x: number, y: number}) => void} wordMenu
 * @property {(words: string[]) => void} insertWords
 * @property {(index: number) => void} turnOff
 * @property {(index: number, anchor: HTMLElement) => void} replace
 * @property {(index: number, anchor: HTMLElement) => void} find
 */

/** @typedef {import("../values/verdicts.mjs").Badge} Badge */
/** @typedef {import("../values/verdicts.mjs").State} State */

/**
 * @typedef {object} View
 * @property {import("../values/stack.mjs").Row} row
 * @property {number} index
 * @property {number} count of all rows
 * @property {boolean} split whether any row has a clip weight of its own
 * @property {boolean} wide whether any row has a schedule
 * @property {import("./curves.mjs").Known} curve of the row's schedule
 * @property {Badge | undefined} badge
 * @property {boolean} open whether the trigger words are shown
 * @property {import("../values/stack.mjs").Row} acting the row as it acts, with its group
 * @property {string | undefined} group its name
 */

/** @type {Record<State, [picture: keyof typeof ICONS, colour: string]>} */
export const BADGES = {
  [FITS]: ["fits", "good"], [PARTLY]: ["partly", "warn"], [MISFIT]: ["cross", "bad"], [UNKNOWN]: ["unknown", "quiet"],
  [MISSING]: ["missing", "bad"], [BROKEN]: ["cross", "bad"], [NOT_A_LORA]: ["cross", "bad"],
};

/**
 * @param {RowActions} actions
 * @returns {{element: HTMLElement, show: (view: View) => void}}
 */
export function createRow(actions) {
  let index = 0;
  /** @type {View | undefined} */
  let shown;
  let key = "";
  const weightActions = (/** @type {"model" | "clip"} */ which) => ({
    step: actions.step,
    live: (/** @type {number} */ value) => actions.weigh(index, which, value, true),
    commit: (/** @type {number} */ value) => actions.weigh(index, which, value, false),
    settle: actions.settle,
    reset: () => actions.reset(index, which),
  });
  const grip = create("span", {
    class: "lorchestra-grip", "aria-hidden": "true", title: t("Drag to move (Alt + arrows)"),
    onpointerdown: (/** @type {PointerEvent} */ event) => actions.lift(index, event),
  }, icon(ICONS.grip, 13));
  const toggle = create("button", { type: "button", class: "lorchestra-switch", role: "switch", onclick: () => actions.toggle(index) });
  const title = create("span", { class: "lorchestra-name-title", dir: "auto" });
  const folder = create("span", { class: "lorchestra-name-folder", dir: "auto" });
  const name = create("button", {
    type: "button", class: "lorchestra-name", "aria-haspopup": "dialog", onclick: () => actions.pick(index, name),
  }, title, " ", folder);
  const tags = create("button", {
    type: "button", class: "lorchestra-tag", hidden: true, "aria-haspopup": "menu", onclick: () => actions.menu(index, tags),
  });
  const badge = create("button", {
    type: "button", class: "lorchestra-mark lorchestra-badge", hidden: true, "aria-haspopup": "dialog",
    onclick: () => actions.explain(index, badge),
  });
  /** @type {import("../values/verdicts.mjs").Candidate | undefined} */
  let offered;
  const offerName = create("span", { class: "lorchestra-offer-name lorchestra-quiet", dir: "auto" });
  const offer = create("button", {
    type: "button", class: "lorchestra-button lorchestra-offer", hidden: true, onclick: () => { if (offered) actions.use(index, offered); },
  }, create("span", { text: t("Use this") }), " ", offerName); // where there is no room, the name wraps out of sight
  const lack = create("button", {
    type: "button", class: "lorchestra-mark lorchestra-lack", hidden: true, onclick: () => actions.showWords(index),
  }, icon(ICONS.words, 13));
  const curve = icon(ICONS.curve, 18);
  const schedule = create("button", {
    type: "button", class: "lorchestra-mark lorchestra-schedule", "aria-haspopup": "dialog", onclick: () => actions.schedule(index, schedule),
  }, curve);
  const model = createWeight(weightActions("model"));
  /** @type {ReturnType<typeof createWeight> | undefined} made when it is needed first */
  let clip;
  /** @type {ReturnType<typeof createWords> | undefined} made when it is needed first */
  let words;
  /** @type {ReturnType<typeof createTrouble> | undefined} made when it is needed first */
  let trouble;
  const more = create("button", {
    type: "button", class: "lorchestra-more", "aria-haspopup": "menu", title: t("More"), onclick: () => actions.menu(index, more),
  }, icon(ICONS.more));
  const element = create("div", { class: "lorchestra-row", role: "listitem" },
    grip, toggle, name, tags, offer, badge, lack, schedule, model.element, more);
  element.addEventListener("contextmenu", (event) => {
    if (/** @type {Element} */ (event.target).closest("input")) return;
    event.preventDefault();
    event.stopPropagation();
    actions.menu(index, { x: event.clientX, y: event.clientY });
  });

  const showBadge = (/** @type {Badge | undefined} */ said) => {
    const state = said?.state ?? "";
    badge.hidden = !state;
    if (!said || !state) return;
    const [picture, colour] = BADGES[state];
    badge.className = `lorchestra-mark lorchestra-badge lorchestra-${colour}`;
    badge.dataset.state = state;
    badge.title = said.sentence || stateWord(state);
    setAttribute(badge, "aria-label", badge.title);
    badge.replaceChildren(icon(ICONS[picture], 13));
  };

  const showOffer = (/** @type {View} */ view) => {
    offered = offerFor(view.row, view.badge);
    offer.hidden = !offered; // of several, the badge's pop-up lets people choose
    if (!offered) return;
    offerName.textContent = offered.name;
    offer.title = t("Use {name}: {why}", { name: offered.name, why: offered.why });
  };
  /** The folder; or the file that is used, where it has another name and is not offered. @param {View} view */
  const showWhere = ({ row, badge: said }) => {
    const used = offered ? undefined : usedFile(said)?.name;
    folder.textContent = used ? `→ ${used}` : splitName(row.lora).folder.replace(/[\\/]$/, "");
    const seen = [title.textContent, folder.textContent].filter(Boolean).join(", "); // who speaks to the machine says what is seen
    setAttribute(name, "aria-label", t("LoRA: {name}. Press to choose another", { name: seen }));
    folder.title = used ? t("Used: {file}. “Use this name” in the row's menu writes it into the row.", { file: used }) : "";
  };

  return {
    element,
    show: (view) => {
      index = view.index;
      const next = JSON.stringify([view.row, view.index, view.count, view.split, view.wide, view.open, view.curve, view.acting, view.group]);
      const isOther = next !== key;
      if (isOther) {
        key = next;
        showRow(view);
      }
      if (shown?.badge !== view.badge) showBadge(view.badge);
      if (isOther || shown?.badge !== view.badge) {
        showOffer(view);
        showWhere(view);
        showWords(view);
        showTrouble(view);
      }
      shown = view;
    },
  };

  /** @param {View} view */
  function showWords({ row, acting, badge: said, open }) {
    const known = said?.words ?? [];
    const { missing, all } = lackOf(acting, known);
    lack.hidden = !missing.length;
    lack.classList.toggle("lorchestra-warn", all);
    lack.classList.toggle("lorchestra-quiet", !all);
    lack.title = t("Not in the prompt: {words}", { words: missing.join(", ") });
    setAttribute(lack, "aria-label", lack.title);
    setAttribute(lack, "aria-expanded", open);
    const meant = chosenWords(row, known);
    title.title = meant.length ? `${row.lora}\n${t("Trigger words: {words}", { words: meant.join(", ") })}` : "";
    element.classList.toggle("lorchestra-row-open", open);
    if (open && !words) {
      words = createWords({
        choose: (word) => actions.chooseWord(index, word),
        menu: (word, anchor) => actions.wordMenu(index, word, anchor),
        insert: actions.insertWords,
      });
      element.append(words.element);
    }
    if (words) words.element.hidden = !open;
    if (open) words?.show(row, said?.words);
  }

  /** @param {View} view */
  function showTrouble({ row, acting, badge: said }) {
    const sentence = refusalOf(acting, said);
    element.classList.toggle("lorchestra-row-refused", sentence !== "");
    if (sentence && !trouble) {
      trouble = createTrouble({
        turnOff: () => actions.turnOff(index),
        replace: (anchor) => actions.replace(index, anchor),
        find: (anchor) => actions.find(index, anchor),
      });
      element.append(trouble.element);
    }
    if (trouble) trouble.element.hidden = !sentence;
    if (sentence) trouble?.show(splitName(row.lora).title || row.lora, sentence, said?.state === MISSING);
  }

  /** @param {View} view */
  function showRow({ row, acting, group, split, wide, count, curve: known }) {
    const parts = splitName(row.lora);
    const on = isOn(row);
    const called = parts.title || row.lora;
    element.classList.toggle("lorchestra-row-off", !on);
    element.classList.toggle("lorchestra-row-grouped", group !== undefined);
    element.classList.toggle("lorchestra-row-idle", on && !isOn(acting));
    setAttribute(element, "aria-label", t("{name}, {number} of {count}", { name: called, number: index + 1, count }));
    setAttribute(toggle, "aria-checked", on);
    setAttribute(toggle, "aria-label", t("{name} is on", { name: called }));
    toggle.title = on ? t("On: press to switch off") : t("Off: press to switch on");
    title.textContent = called;
    name.title = on && !isOn(acting) ? `${row.lora}\n${t("Its group does not use it in the next run")}` : row.lora;
    model.element.title = group !== undefined && modelWeight(acting) !== modelWeight(row)
      ? t("{weight} with the factor of its group", { weight: formatWeight(modelWeight(acting)) }) : "";
    const clipValue = clipWeight(row);
    model.show({
      value: modelWeight(row), label: t("Model weight of {name}", { name: called }), letter: split ? "M" : "", course: known.course,
    });
    model.element.classList.toggle("lorchestra-weight-wide", wide);
    if (split && !clip) {
      clip = createWeight(weightActions("clip"));
      model.element.after(clip.element);
    }
    if (clip) {
      const label = clipValue === null ? t("CLIP weight of {name}, which is the model weight", { name: called })
        : t("CLIP weight of {name}", { name: called });
      clip.show({ value: clipValue ?? modelWeight(row), label, letter: "C", same: clipValue === null });
      clip.element.hidden = !split;
    }
    const scheduled = row.schedule?.trim() ? row.schedule : "";
    schedule.classList.toggle("lorchestra-mark-set", scheduled !== "");
    curve.firstElementChild?.setAttribute("d", known.line ?? ICONS.curve);
    schedule.title = scheduled ? t("Schedule: {text}", { text: scheduled }) : t("Change the weight over the steps");
    setAttribute(schedule, "aria-label", schedule.title);
    const words = marksOf(row);
    tags.hidden = !words.length;
    tags.textContent = words.map(([short]) => short).join(" ");
    tags.title = words.map(([, long]) => long).join(", ");
    setAttribute(tags, "aria-label", tags.title);
    setAttribute(more, "aria-label", t("More for {name}", { name: called }));
  }
}

/**
 * What limits a row, in short and in full.
 * @param {import("../values/stack.mjs").Row} row
 * @returns {[string, string][]}
 */
function marksOf(row) {
  /** @type {[string, string][]} */
  const words = [];
  if (row.conditioning === "positive") words.push(["+", t("Only on the positive prompt")]);
  if (row.conditioning === "negative") words.push(["−", t("Only on the negative prompt")]);
  if (row.expert === "high") words.push(["H", t("Only on the high-noise model")]);
  if (row.expert === "low") words.push(["L", t("Only on the low-noise model")]);
  if (row.expert === "both") words.push(["HL", t("On both the high-noise and the low-noise model")]);
  const blocks = Object.entries(blocksOf(row)).map(([pattern, factor]) => `${pattern} × ${factor}`);
  if (blocks.length) words.push(["B", t("Weights per block: {weights}", { weights: blocks.join(", ") })]);
  return words;
}

/**
 * @param {State | ""} state
 * @returns {string}
 */
export function stateWord(state) {
  if (!state) return "";
  return {
    [FITS]: t("Fits the model"), [PARTLY]: t("Fits in part"), [MISFIT]: t("Does not fit the model"),
    [UNKNOWN]: t("Unknown"), [MISSING]: t("Not on this machine"), [BROKEN]: t("The file is broken"),
    [NOT_A_LORA]: t("This is not a LoRA"),
  }[state];
}

/**
 * The row in a few words, for the list in one line.
 * @param {import("../values/stack.mjs").Row} row
 */
export function rowInWords(row) {
  const { title } = splitName(row.lora);
  const clip = clipWeight(row);
  return `${title} ${formatWeight(modelWeight(row))}${clip === null ? "" : `/${formatWeight(clip)}`}`;
}
