// @ts-check
/** The menus of the editor: presets, and what can be done with a point. */

import { openMenu } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { EASINGS } from "../values/easings.mjs";
import { NUMBERED, PRESETS, presetTyped } from "../values/presets.mjs";
import { movePoint, numberedIn, numberedText } from "../values/schedule.mjs";

/** @typedef {import("./edits.mjs").Edits} Edits */

/**
 * @param {HTMLElement} anchor
 * @param {{text: string, preset?: string}} value
 * @param {Edits} edits
 */
export function openPresets(anchor, { text, preset }, edits) {
  const current = preset ?? presetTyped(text)?.name ?? PRESETS.find((one) => one.text === text)?.name;
  const numbered = preset ? undefined : numberedIn(text);
  openMenu({
    anchor,
    label: t("Presets"),
    items: [
      ...NUMBERED.map((one) => {
        const isCurrent = numbered?.preset === one;
        return {
          label: t(one.name), checked: isCurrent, number: {
            value: isCurrent ? numbered.number : one.first, most: one.most,
            run: (/** @type {number} */ number) => edits.chooseText(numberedText(one, number)),
          },
        };
      }),
      "-",
      ...PRESETS.map(({ name }) => ({
        label: t(name), checked: name === current && !numbered, run: () => edits.choosePreset(name),
      })),
    ],
  });
}

/**
 * @param {import("../base/popup.mjs").Anchor} anchor
 * @param {number} index of the point, which is selected
 * @param {import("./state.mjs").CurveState} state
 * @param {Edits} edits
 */
export function openPointMenu(anchor, index, state, edits) {
  const { keyframes } = state.curve;
  const ways = index === keyframes.length - 1 ? [] : EASINGS.map((easing) => ({
    label: t(easing.label), checked: easing.word === keyframes[index].easing,
    run: () => void edits.step(movePoint(state.curve, index, { easing: easing.word })),
  }));
  openMenu({
    anchor,
    label: t("Point {number}", { number: index + 1 }),
    items: [
      ...ways,
      "-",
      { label: t("Add a point after it"), hint: t("Insert"), run: edits.addAfter },
      { label: t("Remove"), hint: t("Delete"), danger: true, disabled: keyframes.length < 2, run: edits.removeSelected },
    ],
  });
}
