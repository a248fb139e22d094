// @ts-check
/** The two bars of the editor, above and below the picture, and the text: their elements, and how they show the state. */

import { create, icon } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { EASINGS } from "../values/easings.mjs";
import { rounded } from "../values/numbers.mjs";
import { invertedCurve, movePoint, positionOnAxis, writeNumber, writeSchedule } from "../values/schedule.mjs";
import { openPresets } from "./menus.mjs";
import { ICONS } from "./style.mjs";

/**
 * @typedef {import("../values/axis.mjs").Run} Run
 * @typedef {import("./edits.mjs").Edits} Edits
 * @typedef {import("./editor.mjs").Host} Host
 * @typedef {import("./state.mjs").CurveState} CurveState
 */

/**
 * @param {CurveState} state
 * @param {Edits} edits
 * @param {Host} host
 */
export function createBars(state, edits, host) {
  const top = createTop(state, edits, host);
  const bottom = createBottom(state, edits);
  return {
    top: top.element,
    bottom: bottom.element,
    /** The fields of the selected point. */
    fields: bottom.fields,
    show(/** @type {Run} */ run) {
      top.show(run);
      bottom.show();
    },
  };
}

/**
 * Presets, changes of the whole curve, and what is known.
 * @param {CurveState} state
 * @param {Edits} edits
 * @param {Host} host
 */
function createTop(state, edits, host) {
  const presets = create("button", {
    type: "button", class: "lorchestra-button lorchestra-curve-presets", "aria-haspopup": "menu",
    onclick: () => openPresets(presets, host.read(), edits),
  }, t("Presets"), icon(ICONS.more, 10));
  const invert = iconButton(ICONS.invert, t("Invert: 1 minus each weight"), edits.invert);
  const mirror = iconButton(ICONS.mirror, t("Mirror: from the end to the beginning"), edits.mirror);
  const factor = create("select", {
    class: "lorchestra-field lorchestra-curve-factor", "aria-label": t("Curve of the product to edit"),
    onchange: () => edits.chooseFactor(Number(factor.value)),
  });
  const status = create("span", { class: "lorchestra-curve-status lorchestra-quiet", role: "status" });
  const takeSteps = create("button", { type: "button", class: "lorchestra-button", onclick: edits.takeSteps });
  return {
    element: create("div", { class: "lorchestra-curve-bar" }, presets, invert, mirror, factor, status, takeSteps),
    show(/** @type {Run} */ run) {
      const { curve, curves, error, isReady, phase, which } = state;
      const isProduct = curves.length > 1;
      presets.disabled = phase === "locked";
      mirror.disabled = !isReady;
      invert.disabled = !isReady || isProduct || !invertedCurve(curve);
      factor.hidden = !isProduct;
      if (isProduct) {
        factor.replaceChildren(...curves.map((one, index) =>
          create("option", { value: String(index), text: `${index + 1}: ${writeSchedule([one])}` })));
        factor.value = String(which);
      }
      const { sampler } = run;
      takeSteps.hidden = !isReady || !sampler || sampler === run.steps || !host.takeSteps;
      if (!takeSteps.hidden) {
        takeSteps.textContent = t("Sampler: {count}", { count: sampler ?? 0 });
        takeSteps.title = t("The sampler takes {count} steps; show these", { count: sampler ?? 0 });
      }
      const said = error || (phase === "locked" ? host.read().locked ?? "" : stepsInWords(host, run));
      if (status.textContent !== said) status.textContent = status.title = said;
      status.classList.toggle("lorchestra-bad", error !== "");
      status.classList.toggle("lorchestra-quiet", error === "");
    },
  };
}

/** @param {Host} host @param {Run} run */
function stepsInWords(host, { steps, sigmas }) {
  if (!host.read().text.trim() && host.whenEmpty) return host.whenEmpty;
  const known = sigmas?.length ? sigmas.length - 1 : steps;
  if (!known) return "";
  return known === 1 ? t("1 step") : t("{count} steps", { count: known });
}

/**
 * The selected point.
 * @param {CurveState} state
 * @param {Edits} edits
 */
function createBottom(state, edits) {
  const before = iconButton(ICONS.before, t("Previous point"), () => edits.select(state.selected - 1));
  const count = create("span", { class: "lorchestra-curve-count lorchestra-quiet" });
  const after = iconButton(ICONS.after, t("Next point"), () => edits.select(state.selected + 1));
  const position = createField();
  const positionName = create("span", { class: "lorchestra-quiet" });
  const weight = createField();
  const way = create("select", {
    class: "lorchestra-field lorchestra-curve-way-field", "aria-label": t("Transition to the next point"), title: t("Transition to the next point"),
    onchange: () => edits.step(movePoint(state.curve, state.selected, { easing: way.value })),
  }, ...EASINGS.map((easing) => create("option", { value: easing.word, text: t(easing.label) })));
  const add = iconButton(ICONS.add, t("Add a point (or double-click the curve)"), edits.addAfter);
  const remove = iconButton(ICONS.remove, t("Remove the point"), edits.removeSelected);
  return {
    element: create("div", { class: "lorchestra-curve-bar" }, before, count, after,
      create("label", {}, positionName, position),
      create("label", {}, create("span", { class: "lorchestra-quiet", text: t("Weight") }), weight),
      way, add, remove),
    fields: { position, weight },
    show() {
      const { curve: { unit, keyframes }, isReady, keyframe, selected } = state;
      const isLast = selected === keyframes.length - 1;
      count.textContent = `${selected + 1} / ${keyframes.length}`;
      positionName.textContent = { progress: t("At"), step: t("Step"), sigma: t("Sigma") }[unit];
      showIn(position, positionOnAxis(keyframe.at, unit));
      showIn(weight, writeNumber(rounded(keyframe.weight, 4)));
      way.value = keyframe.easing;
      for (const one of [position, weight, add]) one.disabled = !isReady;
      before.disabled = !isReady || selected === 0;
      after.disabled = way.disabled = !isReady || isLast;
      remove.disabled = !isReady || keyframes.length < 2;
    },
  };
}

/**
 * The schedule as text.
 * @param {Host} host
 * @param {Edits} edits
 * @param {() => void} render shows the host's value
 */
export function createText(host, edits, render) {
  const text = create("textarea", {
    class: "lorchestra-field lorchestra-curve-text", spellcheck: false, autocomplete: "off", rows: 2,
    "aria-label": t("The schedule as text"), placeholder: "0:0, 0.3:1 ease, 1:0.2",
    oninput: () => {
      host.write(text.value);
      render();
    },
    onchange: () => {
      edits.begin();
      edits.finish();
    },
  });
  return text;
}

/**
 * @param {string} path
 * @param {string} name
 * @param {() => void} run
 */
function iconButton(path, name, run) {
  return create("button", {
    type: "button", class: "lorchestra-button lorchestra-curve-icon", title: name, "aria-label": name, onclick: run,
  }, icon(path));
}

function createField() {
  return create("input", { class: "lorchestra-field", type: "text", inputMode: "decimal", autocomplete: "off", spellcheck: false });
}

/**
 * Shows a value in a field, but not over what is being typed there.
 * @param {HTMLInputElement} field
 * @param {string} value
 */
function showIn(field, value) {
  if (document.activeElement === field && field.dataset.shown !== undefined && field.value !== field.dataset.shown) return;
  field.value = value;
  field.dataset.shown = value;
}
