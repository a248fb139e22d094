// @ts-check
/** The menu of the head for rows with problems, as items; what they do is the list's. */

import { t } from "../base/words.mjs";
import { offersFor, troubled } from "../values/problems.mjs";

/** @import { Candidate } from "../values/verdicts.mjs" */
/** @import { Problems } from "../values/problems.mjs" */

/**
 * @typedef {object} FixMenu
 * @property {import("../values/stack.mjs").Row[]} rows
 * @property {(import("../values/verdicts.mjs").Badge | undefined)[]} badges by row
 * @property {Problems} problems
 * @property {(choices: {index: number, file: Candidate}[]) => void} use lets rows name these files
 * @property {(rows: number[]) => void} turnOff
 * @property {(rows: number[]) => void} replace one after another, each by what is chosen for it
 * @property {(row: number) => void} show
 * @property {() => void} showMissing opens the dialog for the whole workflow
 */

/**
 * @param {FixMenu} of
 * @returns {(import("../base/popup.mjs").Item | "-" | null)[]}
 */
export function fixItems({ rows, badges, problems, use, turnOff, replace, show, showMissing }) {
  const all = troubled(problems);
  const { misfits, missing, ambiguous } = problems;
  const sure = offersFor(rows, badges, all);
  const rest = all.filter((index) => !sure.some((offer) => offer.index === index));
  const names = sure.map(({ index, file }) => `${rows[index].lora} → ${file.name}`).join("\n");
  return [
    { label: t("Show the first problem"), run: () => show(all[0]) },
    "-",
    sure.length ? {
      label: sure.length === 1 ? t("Use the only matching file") : t("Use the only matching file for {count} rows", { count: sure.length }),
      title: names, run: () => use(sure),
    } : null,
    rest.length ? { label: rest.length === 1 ? t("Replace it…") : t("Replace {count}, one after another…", { count: rest.length }), run: () => replace(rest) } : null,
    missing.length || ambiguous.length ? {
      label: t("Missing LoRAs…"), title: t("All missing LoRAs of this workflow, and where they may be"), run: showMissing,
    } : null,
    "-",
    misfits.length && misfits.length < all.length
      ? { label: misfits.length === 1 ? t("Turn off the one that doesn't fit") : t("Turn off {count} that don't fit", { count: misfits.length }), run: () => turnOff(misfits) }
      : null,
    missing.length && missing.length < all.length
      ? { label: missing.length === 1 ? t("Turn off the missing one") : t("Turn off {count} missing ones", { count: missing.length }), run: () => turnOff(missing) }
      : null,
    { label: all.length === 1 ? t("Turn it off") : t("Turn off all {count}", { count: all.length }), run: () => turnOff(all) },
  ];
}
