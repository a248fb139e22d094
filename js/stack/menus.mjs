// @ts-check
/** The menus of a row and of the whole list, as items; what they do is the list's. */

import { t } from "../base/words.mjs";
import { DIALECTS } from "../exchange/clipboard.mjs";
import { blocksOf } from "../values/blocks.mjs";
import { formatWeight } from "../values/numbers.mjs";
import { clipWeight, isOn, modelWeight } from "../values/stack.mjs";

const PRESETS = [0, 0.5, 1];

/**
 * @typedef {object} RowMenu
 * @property {import("../values/stack.mjs").Row} row
 * @property {number} index
 * @property {number} count
 * @property {(changes: import("../values/stack.mjs").Changes) => void} change
 * @property {() => void} toggle
 * @property {() => void} duplicate
 * @property {(to: number) => void} move
 * @property {() => void} remove
 * @property {() => void} schedule
 * @property {() => void} blocks
 * @property {() => void} info
 * @property {import("../base/popup.mjs").Item[]} groups that the row may be in
 * @property {() => void} pick
 * @property {() => void} copy
 * @property {boolean} open whether the trigger words are shown
 * @property {() => void} showWords or hides them
 * @property {string} [used] the name of the file that is used, if the row says another
 * @property {() => void} useName lets the row say that name
 */

/**
 * @param {RowMenu} of
 * @returns {(import("../base/popup.mjs").Item | "-" | null)[]}
 */
export function rowItems({
  row, index, count, change, toggle, duplicate, move, remove, schedule, blocks, info, pick, copy, open, showWords, used,
  useName, groups,
}) {
  const model = modelWeight(row);
  const clip = clipWeight(row);
  const choices = (/** @type {string} */ key, /** @type {[string | undefined, string, string][]} */ all, /** @type {string | undefined} */ none) =>
    all.map(([value, label, title]) => ({
      label, title, checked: (row[key] ?? none) === (value ?? none), run: () => change({ [key]: value }),
    }));
  return [
    { label: t("On"), checked: isOn(row), hint: t("Space"), run: toggle },
    {
      label: t("Weight"),
      choices: PRESETS.map((value) => ({ label: formatWeight(value).replace(/\.?0+$/, ""), checked: model === value, run: () => change({ model: value }) })),
    },
    { label: t("Separate CLIP weight"), checked: clip !== null, title: t("Without it, the text encoders get the model weight"),
      run: () => change({ clip: clip === null ? model : undefined }) },
    { label: t("Schedule…"), run: schedule },
    row.schedule ? { label: t("Remove the schedule"), run: () => change({ schedule: undefined }) } : null,
    { label: t("Weights per block…"), hint: "B", run: blocks },
    Object.keys(blocksOf(row)).length ? { label: t("Remove the weights per block"), run: () => change({ blocks: undefined }) } : null,
    {
      label: t("Prompt"), title: t("Which prompt the LoRA acts on"),
      choices: choices("conditioning", [
        [undefined, t("both"), ""], ["positive", "+", t("Only on the positive prompt")], ["negative", "−", t("Only on the negative prompt")],
      ], "both"),
    },
    {
      label: t("High/low-noise model"), title: t("For models that come as a pair, such as Wan 2.2; auto: the file's name decides"),
      choices: choices("expert", [
        [undefined, t("auto"), t("The file's name decides")], ["high", t("high"), t("Only on the high-noise model")],
        ["low", t("low"), t("Only on the low-noise model")], ["both", t("both"), t("On both the high-noise and the low-noise model")],
      ], undefined),
    },
    { label: t("Trigger words"), checked: open, hint: "T", run: showWords },
    { label: t("Group"), items: groups },
    "-",
    used ? { label: t("Use this name"), title: t("Used: {file}", { file: used }), hint: used, run: useName } : null,
    { label: t("Choose another…"), run: pick },
    { label: t("Info…"), run: info },
    { label: t("Duplicate"), hint: "Ctrl+D", run: duplicate },
    { label: t("Copy"), run: copy },
    { label: t("Move up"), hint: "Alt+↑", disabled: index === 0, run: () => move(index - 1) },
    { label: t("Move down"), hint: "Alt+↓", disabled: index === count - 1, run: () => move(index + 1) },
    "-",
    { label: t("Remove"), hint: t("Delete"), danger: true, run: remove },
  ];
}

/**
 * @typedef {object} ListMenu
 * @property {import("../values/stack.mjs").Row[]} rows
 * @property {boolean} readable
 * @property {boolean} asText
 * @property {boolean} collapsed
 * @property {number} missing how many rows' files are not there
 * @property {(rows: import("../values/stack.mjs").Row[]) => void} setRows
 * @property {(dialect: string) => void} copyAs
 * @property {() => void} paste
 * @property {() => void} presets opens them
 * @property {() => void} toggleText
 * @property {() => void} toggleCollapsed
 * @property {() => void} removeMissing
 * @property {boolean} open whether the trigger words of all rows are shown
 * @property {() => void} showWords or hides them
 * @property {() => void} showMissing opens the dialog for the whole workflow
 * @property {() => void} identify opens what reads all files for their hashes
 */

/**
 * @param {ListMenu} of
 * @returns {(import("../base/popup.mjs").Item | "-" | null)[]}
 */
export function listItems({
  rows, readable, asText, collapsed, missing, setRows, copyAs, paste, toggleText, toggleCollapsed, removeMissing, showMissing,
  identify, open, showWords, presets,
}) {
  const some = rows.length > 0;
  const split = rows.some((row) => clipWeight(row) !== null);
  const sorted = (/** @type {(a: import("../values/stack.mjs").Row, b: import("../values/stack.mjs").Row) => number} */ order) => setRows([...rows].sort(order));
  const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;
  return [
    { label: t("Collapse to one line"), checked: collapsed, disabled: !readable, run: toggleCollapsed },
    { label: t("Trigger words"), checked: open, disabled: !some || asText, run: showWords },
    { label: t("Edit as text"), checked: asText, disabled: !readable, run: toggleText },
    "-",
    {
      label: t("Sort"), choices: !some ? undefined : [
        { label: t("name"), run: () => sorted((a, b) => byName(a.lora, b.lora)) },
        { label: t("weight"), run: () => sorted((a, b) => modelWeight(b) - modelWeight(a)) },
        { label: t("on first"), run: () => sorted((a, b) => Number(isOn(b)) - Number(isOn(a))) },
      ],
      disabled: !some,
    },
    { label: split ? t("Use the model weight for CLIP") : t("Separate CLIP weights for all"), disabled: !some,
      run: () => setRows(rows.map((row) => ({ ...row, clip: split ? undefined : modelWeight(row) }))) },
    "-",
    { label: t("Copy as"), disabled: !some, items: DIALECTS.map(({ id, label }) => ({ label: label(), run: () => copyAs(id) })) },
    { label: t("Paste rows"), disabled: !readable, run: paste },
    { label: t("Presets…"), disabled: !readable, title: t("Saves rows under a name, and puts them into any workflow"), run: presets },
    "-",
    { label: t("Missing LoRAs…"), title: t("All missing LoRAs of this workflow, and where they may be"), run: showMissing },
    { label: t("Identify all files…"), title: t("Reads every LoRA file once, so that rows find it under any name"), run: identify },
    "-",
    missing ? {
      label: missing === 1 ? t("Remove 1 missing LoRA") : t("Remove {count} missing LoRAs", { count: missing }), danger: true,
      run: removeMissing,
    } : null,
    { label: t("Remove all"), danger: true, disabled: !some, run: () => setRows([]) },
  ];
}
