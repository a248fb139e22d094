// @ts-check
/** The curve editor: a picture with points to drag, fields for the selected one, and the text that is their value. */

import { create, icon, ROOT_CLASS, useStyle } from "../base/dom.mjs";
import { openMenu } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { EASINGS, LINEAR } from "../values/easings.mjs";
import {
  curvesOf, insertPoint, invertedCurve, isValid, mirroredCurve, movePoint, readSchedule, removePoint, UNITS, weightAt,
  writeNumber, writeSchedule,
} from "../values/schedule.mjs";
import { Plot } from "./plot.mjs";
import { PRESETS, presetTyped } from "../values/presets.mjs";
import { niceStep, nextOnGrid, onGrid } from "../values/axis.mjs";
import { clamp, readNumber, rounded } from "../values/numbers.mjs";

export const CURVE_CLASS = "lorchestra-curve";
/** Least height of the element without a text in it, in pixels. */
export const CURVE_HEIGHT = 214;
const WEIGHT_GRID = 0.05;
const FINE_WEIGHT_GRID = 0.01;
const DEAD_ZONE = 3; // pixels that a pointer may go astray before the point leaves its position or its weight
const ON_LINE = 10;
const PAUSE = 250; // milliseconds without typing before the server is asked
const STYLE = `
.lorchestra-curve { display: flex; flex-direction: column; gap: 4px; min-height: ${CURVE_HEIGHT}px; min-width: 0; }
.lorchestra-curve-bar { display: flex; align-items: center; gap: 4px; height: 24px; flex: none; min-width: 0; }
.lorchestra-curve-bar :is(button, select, input) { height: 24px; padding: 0 6px; flex: none; }
.lorchestra-curve-icon { width: 24px; display: inline-flex; align-items: center; justify-content: center; padding: 0 !important; }
.lorchestra-curve-bar select {
  appearance: none; cursor: pointer; padding-inline-end: 18px; background-repeat: no-repeat;
  background-image: linear-gradient(45deg, transparent 50%, var(--lorchestra-quiet) 50%),
    linear-gradient(135deg, var(--lorchestra-quiet) 50%, transparent 50%);
  background-size: 4px 4px; background-position: right 10px center, right 6px center;
}
.lorchestra-curve-presets { display: inline-flex; align-items: center; gap: 4px; }
.lorchestra-curve-bar select option { color: #111; background: #fff; }
.lorchestra-curve-bar select.lorchestra-curve-way-field { flex: 1 1 60px; min-width: 44px; text-overflow: ellipsis; }
.lorchestra-curve-bar label { display: inline-flex; align-items: center; gap: 4px; flex: none; white-space: nowrap; }
.lorchestra-curve-bar input { width: 46px; font-variant-numeric: tabular-nums; }
.lorchestra-curve-turn { width: 18px; }
.lorchestra-curve-count { min-width: 30px; text-align: center; font-variant-numeric: tabular-nums; white-space: nowrap; flex: none; }
.lorchestra-curve-status {
  flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; text-align: end; font-size: 11px;
}
.lorchestra-curve-factor { flex: 0 1 auto !important; max-width: 120px; text-overflow: ellipsis; }
.lorchestra-curve-text {
  resize: none; flex: none; height: 42px; font-family: var(--lorchestra-mono) !important; font-size: 11px !important; line-height: 1.4;
  overflow-wrap: anywhere;
}
.lorchestra-curve-text[aria-invalid="true"] { border-color: var(--lorchestra-bad); }
`;
const ICONS = {
  invert: "M4 3v10M1.5 5.5 4 3l2.5 2.5M12 13V3M9.5 10.5 12 13l2.5-2.5",
  mirror: "M3 4h10M5.5 1.5 3 4l2.5 2.5M13 12H3M10.5 9.5 13 12l-2.5 2.5",
  add: "M8 3v10M3 8h10",
  remove: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5 5 13h6l.5-8.5M7 7v3.5M9 7v3.5",
  before: "M10 3 5 8l5 5",
  after: "M6 3l5 5-5 5",
  more: "M4 6l4 4 4-4",
};

/**
 * Where the editor's value is, and what is known around it.
 * @typedef {object} Host
 * @property {() => {text: string, locked?: string, preset?: string}} read the value; `locked` says why it cannot be
 *   edited; `preset` is the name of the chosen one
 * @property {(text: string) => void} write takes another text
 * @property {(name: string) => void} choose takes a preset
 * @property {() => void} begin what is written until `finish` is one step of undo
 * @property {() => void} finish
 * @property {(text: string) => Promise<import("../values/schedule.mjs").Answer>} ask the server's answer to a text
 * @property {() => import("../values/axis.mjs").Run} run the sampler's steps, as far as they are known
 * @property {(steps: number) => void} [takeSteps] shows the sampler's steps, where the node has others
 * @property {boolean} [withText] the text stands in the editor, too
 * @property {string} [whenEmpty] said where the text is empty, if that means something
 */

/**
 * @param {Host} host
 * @returns {{element: HTMLElement, render: () => void, destroy: () => void}} `render` shows the host's value
 */
export function createCurveEditor(host) {
  useStyle("curve", STYLE);
  const plot = new Plot();
  /** @type {import("../values/schedule.mjs").Curve[]} */
  let curves = [{ unit: "progress", keyframes: [{ at: 0, weight: 1, easing: LINEAR }] }];
  let which = 0;
  let selected = 0;
  /** @type {string | undefined} */
  let shown;
  /** @type {"ready" | "asking" | "wrong" | "locked"} */
  let state = "ready";
  let error = "";
  let gesture = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let pause;
  /** @type {{index: number, id: number, x: number, y: number, curve: import("../values/schedule.mjs").Curve, scale: import("../values/axis.mjs").Scale, movedAt: boolean, movedWeight: boolean} | undefined} */
  let drag;

  const ready = () => state === "ready";
  const curve = () => curves[which];
  const keyframe = () => curve().keyframes[selected];
  const begin = () => {
    if (gesture) return;
    gesture = true;
    host.begin();
  };
  const finish = () => {
    if (!gesture) return;
    gesture = false;
    host.finish();
  };

  // Elements
  const iconButton = (/** @type {string} */ path, /** @type {string} */ name, /** @type {() => void} */ run) => create("button", {
    type: "button", class: "lorchestra-button lorchestra-curve-icon", title: name, "aria-label": name, onclick: run,
  }, icon(path));
  const presets = create("button", {
    type: "button", class: "lorchestra-button lorchestra-curve-presets", "aria-haspopup": "menu", onclick: () => openPresets(),
  }, t("Presets"), icon(ICONS.more, 10));
  const invert = iconButton(ICONS.invert, t("Invert: 1 minus each weight"), () => {
    const next = invertedCurve(curve());
    if (next) step(next);
  });
  const mirror = iconButton(ICONS.mirror, t("Mirror: from the end to the beginning"), () => {
    const axis = plot.scale?.axis;
    if (!axis) return;
    const next = mirroredCurve(curve(), axis.start, axis.end);
    selected = clamp(next.keyframes.length - 1 - selected, 0, next.keyframes.length - 1);
    step(next);
  });
  const factor = create("select", {
    class: "lorchestra-field lorchestra-curve-factor", "aria-label": t("Curve of the product that is edited"),
    onchange: () => {
      which = Number(factor.value);
      selected = 0;
      draw();
    },
  });
  const status = create("span", { class: "lorchestra-curve-status lorchestra-quiet", role: "status" });
  const takeSteps = create("button", {
    type: "button", class: "lorchestra-button", onclick: () => {
      const { sampler } = host.run();
      if (!sampler) return;
      begin();
      host.takeSteps?.(sampler);
      finish();
      draw();
    },
  });
  const before = iconButton(ICONS.before, t("Point before"), () => select(selected - 1));
  const count = create("span", { class: "lorchestra-curve-count lorchestra-quiet" });
  const after = iconButton(ICONS.after, t("Point after"), () => select(selected + 1));
  const position = create("input", { class: "lorchestra-field", type: "text", inputMode: "decimal", autocomplete: "off", spellcheck: false });
  const positionName = create("span", { class: "lorchestra-quiet" });
  const weight = create("input", { class: "lorchestra-field", type: "text", inputMode: "decimal", autocomplete: "off", spellcheck: false });
  const way = create("select", {
    class: "lorchestra-field lorchestra-curve-way-field", "aria-label": t("Way to the next point"), title: t("Way to the next point"),
    onchange: () => step(movePoint(curve(), selected, { easing: way.value })),
  }, ...EASINGS.map((easing) => create("option", { value: easing.word, text: t(easing.label) })));
  const add = iconButton(ICONS.add, t("Add a point (or double-click the curve)"), () => addAfter());
  const remove = iconButton(ICONS.remove, t("Remove the point"), () => removeSelected());
  const text = host.withText ? create("textarea", {
    class: "lorchestra-field lorchestra-curve-text", spellcheck: false, autocomplete: "off", rows: 2,
    "aria-label": t("The schedule as text"), placeholder: "0:0, 0.3:1 ease, 1:0.2",
    oninput: () => {
      host.write(text?.value ?? "");
      render();
    },
    onchange: () => {
      begin();
      finish();
    },
  }) : undefined;
  const element = create("div", { class: `${ROOT_CLASS} ${CURVE_CLASS}`, role: "group", "aria-label": t("Curve editor") },
    create("div", { class: "lorchestra-curve-bar" }, presets, invert, mirror, factor, status, takeSteps),
    plot.element,
    create("div", { class: "lorchestra-curve-bar" }, before, count, after,
      create("label", {}, positionName, position),
      create("label", {}, create("span", { class: "lorchestra-quiet", text: t("Weight") }), weight),
      way, add, remove),
    text);

  for (const one of [before, after]) one.classList.add("lorchestra-curve-turn");

  // What is shown
  const draw = () => {
    element.dataset.state = state;
    selected = clamp(selected, 0, curve().keyframes.length - 1);
    const run = host.run();
    const others = curves.every((one) => one.unit === curve().unit) ? curves.filter((one) => one !== curve()) : [];
    plot.draw({ curve: curve(), others, run, selected, locked: !ready() });
    drawBars(run);
  };
  const drawBars = (/** @type {import("../values/axis.mjs").Run} */ run) => {
    const { unit, keyframes } = curve();
    const own = keyframe();
    count.textContent = `${selected + 1} / ${keyframes.length}`;
    positionName.textContent = { progress: t("At"), step: t("Step"), sigma: t("Sigma") }[unit];
    show(position, writeNumber(rounded(own.at, 4)));
    show(weight, writeNumber(rounded(own.weight, 4)));
    way.value = own.easing;
    for (const one of [position, weight, add, invert, mirror, way]) one.disabled = !ready();
    before.disabled = !ready() || selected === 0;
    after.disabled = !ready() || selected === keyframes.length - 1;
    way.disabled ||= selected === keyframes.length - 1;
    remove.disabled = !ready() || keyframes.length < 2;
    presets.disabled = state === "locked";
    invert.disabled ||= curves.length > 1 || !invertedCurve(curve());
    factor.hidden = curves.length < 2;
    if (curves.length > 1) {
      factor.replaceChildren(...curves.map((one, index) =>
        create("option", { value: String(index), text: `${index + 1}: ${writeSchedule([one])}` })));
      factor.value = String(which);
    }
    const { sampler } = run;
    takeSteps.hidden = !ready() || !sampler || sampler === run.steps || !host.takeSteps;
    if (!takeSteps.hidden) {
      takeSteps.textContent = t("Sampler: {count}", { count: sampler ?? 0 });
      takeSteps.title = t("The sampler takes {count} steps; show these", { count: sampler ?? 0 });
    }
    const said = error || (state === "locked" ? host.read().locked ?? "" : sentence(run));
    if (status.textContent !== said) status.textContent = status.title = said;
    status.classList.toggle("lorchestra-bad", error !== "");
    status.classList.toggle("lorchestra-quiet", error === "");
    text?.setAttribute("aria-invalid", String(error !== ""));
  };
  const sentence = (/** @type {import("../values/axis.mjs").Run} */ { steps, sigmas }) => {
    const { text: value } = host.read();
    if (!value.trim() && host.whenEmpty) return host.whenEmpty;
    const known = sigmas?.length ? sigmas.length - 1 : steps;
    if (!known) return "";
    return known === 1 ? t("1 step") : t("{count} steps", { count: known });
  };
  const take = (/** @type {import("../values/schedule.mjs").Curve[]} */ found) => {
    curves = found;
    which = Math.min(which, curves.length - 1);
    state = "ready";
    error = "";
  };
  const fail = (/** @type {string} */ words) => {
    state = "wrong";
    error = words;
  };
  const render = () => {
    const { text: value, locked } = host.read();
    if (text && text.value !== value) text.value = value;
    if (value !== shown) {
      shown = value;
      drag = undefined;
      clearTimeout(pause);
      const found = value.trim() ? readSchedule(value) : null;
      if (found) take(found);
      else if (!value.trim() && host.whenEmpty) take([{ unit: "progress", keyframes: [{ at: 0, weight: 1, easing: LINEAR }] }]);
      else {
        state = "asking";
        error = "";
        pause = setTimeout(() => void ask(value), PAUSE);
      }
    }
    if (locked) state = "locked";
    else if (state === "locked") {
      state = error ? "wrong" : "ready";
      shown = undefined;
      return void render();
    }
    draw();
  };
  const ask = async (/** @type {string} */ value) => {
    try {
      const answer = await host.ask(value);
      if (shown !== value) return;
      const found = curvesOf(answer);
      if (found) take(found);
      else fail(answer?.column ? t("Column {column}: {error}", { column: answer.column, error: answer.error ?? "" }) : String(answer?.error ?? t("The text could not be read")));
    } catch (reason) {
      if (shown !== value) return;
      fail(t("The text could not be read: {error}", { error: String(/** @type {Error} */ (reason)?.message ?? reason) }));
    }
    if (host.read().locked) state = "locked";
    draw();
  };

  // Edits
  /** @param {import("../values/schedule.mjs").Curve} next in the place of the edited curve */
  const apply = (next) => {
    const all = curves.with(which, next);
    if (!ready() || !isValid(all)) return false;
    curves = all;
    shown = writeSchedule(all);
    host.write(shown);
    if (text) text.value = shown;
    draw();
    return true;
  };
  /** @param {import("../values/schedule.mjs").Curve} next */
  const step = (next) => {
    begin();
    const done = apply(next);
    finish();
    if (!done) draw();
    return done;
  };
  /** @param {number} index */
  const select = (index, focus = false) => {
    selected = clamp(index, 0, curve().keyframes.length - 1);
    draw();
    if (focus) plot.points[selected]?.focus({ preventScroll: true });
  };
  const addAfter = () => {
    const { keyframes, unit } = curve();
    const { axis } = plot.scale ?? {};
    if (!axis || !ready()) return;
    const own = keyframe();
    const next = keyframes[selected + 1];
    const last = keyframes[keyframes.length - 1];
    const [from, to] = next ? [own.at, next.at]
      : last.at !== axis.end ? [last.at, axis.end] : [keyframes[selected - 1]?.at ?? axis.start, own.at];
    const middle = rounded((from + to) / 2, 4);
    const added = insertPoint(curve(), unit === "step" && Math.abs(to - from) > 1 ? Math.round(middle) : middle);
    if (!added || !step(added.curve)) return;
    select(added.index, plot.group.contains(document.activeElement));
  };
  const removeSelected = () => {
    const focus = plot.group.contains(document.activeElement);
    const next = removePoint(curve(), selected);
    if (next === curve()) return;
    const index = Math.max(selected - 1, 0);
    step(next);
    select(index, focus);
  };
  const weightGrid = () => {
    const { low, high } = plot.scale?.weights ?? { low: 0, high: 1 };
    return Math.max(WEIGHT_GRID, niceStep((high - low) / 200));
  };
  /**
   * @param {"at" | "weight"} what
   * @param {1 | -1} direction to the right, or up
   * @param {boolean} fine
   */
  const nudge = (what, direction, fine) => {
    const own = keyframe();
    const axis = plot.scale?.axis;
    if (!axis) return;
    if (what === "weight") {
      const grid = fine ? FINE_WEIGHT_GRID : weightGrid();
      apply(movePoint(curve(), selected, { weight: nextOnGrid(own.weight, grid, direction) }));
    } else {
      const along = /** @type {1 | -1} */ (direction * UNITS[curve().unit].forward);
      const at = nextOnGrid(own.at, fine ? axis.fine : axis.grid, along);
      apply(movePoint(curve(), selected, { at: clamp(at, Math.min(axis.start, axis.end), Math.max(axis.start, axis.end)) }));
    }
  };
  const openPresets = () => {
    const { text: value, preset } = host.read();
    const current = preset ?? presetTyped(value)?.name ?? PRESETS.find((one) => one.text === value)?.name;
    openMenu({
      anchor: presets,
      label: t("Presets"),
      items: PRESETS.map(({ name }) => ({
        label: t(name),
        checked: name === current,
        run: () => {
          begin();
          host.choose(name);
          finish();
          which = selected = 0;
          render();
        },
      })),
    });
  };
  const openPointMenu = (/** @type {number} */ index, /** @type {MouseEvent} */ event) => {
    select(index, true);
    const { keyframes } = curve();
    const anchor = event.clientX || event.clientY ? { x: event.clientX, y: event.clientY } : plot.points[index];
    openMenu({
      anchor,
      label: t("Point {number}", { number: index + 1 }),
      items: [
        ...(index < keyframes.length - 1 ? EASINGS.map((easing) => ({
          label: t(easing.label), checked: easing.word === keyframes[index].easing,
          run: () => void step(movePoint(curve(), index, { easing: easing.word })),
        })) : []),
        "-",
        { label: t("Add a point after it"), hint: t("Insert"), run: () => addAfter() },
        { label: t("Remove"), hint: t("Delete"), danger: true, disabled: keyframes.length < 2, run: () => removeSelected() },
      ],
    });
  };

  // The pointer
  const onPointerDown = (/** @type {PointerEvent} */ event) => {
    if (event.button !== 0 || !ready() || !plot.scale || drag) return;
    event.preventDefault(); // no text is selected
    const place = plot.locate(event);
    let index = plot.nearest(place, selected);
    if (index < 0) {
      const at = plot.scale.at(place.x);
      const near = Math.abs(plot.scale.y(weightAt(curve(), at)) - place.y) <= ON_LINE;
      const { forward } = UNITS[curve().unit];
      index = near ? curve().keyframes.findLastIndex((one) => forward * (at - one.at) >= 0) : -1;
      if (index >= 0) select(index, true);
      else if (!plot.group.contains(document.activeElement)) plot.points[selected]?.focus({ preventScroll: true });
      return;
    }
    select(index, true);
    plot.svg.setPointerCapture(event.pointerId);
    plot.element.dataset.dragging = "";
    drag = { index, id: event.pointerId, ...place, curve: curve(), scale: plot.scale, movedAt: false, movedWeight: false };
  };
  const onPointerMove = (/** @type {PointerEvent} */ event) => {
    if (!drag || event.pointerId !== drag.id) return;
    const { scale, index } = drag;
    const place = plot.locate(event);
    drag.movedAt ||= Math.abs(place.x - drag.x) > DEAD_ZONE;
    drag.movedWeight ||= Math.abs(place.y - drag.y) > DEAD_ZONE;
    if (!drag.movedAt && !drag.movedWeight) return;
    const own = drag.curve.keyframes[index];
    const at = scale.at(scale.x(own.at) + place.x - drag.x);
    const level = scale.weight(scale.y(own.weight) + place.y - drag.y);
    const { axis } = scale;
    const next = movePoint(drag.curve, index, {
      at: drag.movedAt ? onGrid(at, event.shiftKey ? axis.fine : axis.grid) : own.at,
      weight: drag.movedWeight ? onGrid(level, event.shiftKey ? FINE_WEIGHT_GRID : weightGrid()) : own.weight,
    });
    const now = keyframe();
    const { at: nextAt, weight: nextWeight } = next.keyframes[index];
    if (nextAt === now.at && nextWeight === now.weight) return;
    begin();
    apply(next);
  };
  const endDrag = () => {
    if (!drag) return;
    drag = undefined;
    delete plot.element.dataset.dragging;
    finish();
    draw();
  };
  const onDoubleClick = (/** @type {MouseEvent} */ event) => {
    event.preventDefault();
    if (!ready() || !plot.scale) return;
    const place = plot.locate(event);
    if (plot.nearest(place, selected) >= 0) return;
    const { scale } = plot;
    const { axis } = scale;
    const at = onGrid(scale.at(place.x), event.shiftKey ? axis.fine : Math.min(axis.grid, UNITS[curve().unit].fine * 10));
    const isOnLine = Math.abs(scale.y(weightAt(curve(), scale.at(place.x))) - place.y) <= ON_LINE;
    const level = isOnLine ? undefined : onGrid(scale.weight(place.y), weightGrid());
    const added = insertPoint(curve(), at, level);
    if (added && step(added.curve)) select(added.index, true);
  };

  // The keyboard
  const onPointKey = (/** @type {KeyboardEvent} */ event) => {
    if (!ready() || event.ctrlKey || event.metaKey || event.altKey) return;
    /** @type {Record<string, () => void>} */
    const moves = {
      ArrowLeft: () => nudge("at", -1, event.shiftKey),
      ArrowRight: () => nudge("at", 1, event.shiftKey),
      ArrowDown: () => nudge("weight", -1, event.shiftKey),
      ArrowUp: () => nudge("weight", 1, event.shiftKey),
    };
    /** @type {Record<string, () => void>} */
    const others = {
      PageUp: () => select(selected - 1, true),
      PageDown: () => select(selected + 1, true),
      Home: () => select(0, true),
      End: () => select(curve().keyframes.length - 1, true),
      Delete: removeSelected,
      Backspace: removeSelected,
      Insert: addAfter,
      "+": addAfter,
    };
    if (moves[event.key]) {
      begin(); // until the key is up
      moves[event.key]();
    } else if (others[event.key]) {
      finish();
      others[event.key]();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const readPosition = (/** @type {string} */ typed) => {
    const plain = typed.trim().replace(",", ".");
    return readSchedule(`${curve().unit} ${plain}:0`)?.[0].keyframes[0].at ?? null;
  };
  /**
   * @param {HTMLInputElement} field
   * @param {"at" | "weight"} what
   */
  const bindField = (field, what) => {
    field.addEventListener("change", () => {
      if (field.value === field.dataset.shown || !ready()) return;
      const value = what === "at" ? readPosition(field.value) : readNumber(field.value);
      delete field.dataset.shown;
      if (value === null) draw();
      else step(movePoint(curve(), selected, { [what]: value }));
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) field.dispatchEvent(new Event("change"));
      else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        event.preventDefault();
        begin();
        nudge(what, event.key === "ArrowUp" ? 1 : -1, event.shiftKey);
      }
    });
  };
  bindField(position, "at");
  bindField(weight, "weight");

  plot.svg.addEventListener("pointerdown", (event) => onPointerDown(/** @type {PointerEvent} */ (event)));
  plot.svg.addEventListener("pointermove", (event) => onPointerMove(/** @type {PointerEvent} */ (event)));
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) plot.svg.addEventListener(kind, endDrag);
  plot.svg.addEventListener("dblclick", (event) => onDoubleClick(/** @type {MouseEvent} */ (event)));
  plot.svg.addEventListener("contextmenu", (event) => {
    const place = /** @type {MouseEvent} */ (event);
    const focused = plot.points.indexOf(/** @type {SVGGElement} */ (document.activeElement));
    const index = place.button === 2 ? plot.nearest(plot.locate(place), selected) : focused;
    if (index < 0 || !ready()) return;
    event.preventDefault();
    event.stopPropagation();
    openPointMenu(index, place);
  });
  // On the HTML element: Chromium lets SVG elements with such listeners take the focus themselves.
  plot.element.addEventListener("focusin", (event) => {
    const index = plot.points.indexOf(/** @type {SVGGElement} */ (event.target));
    if (index >= 0 && index !== selected) select(index);
  });
  plot.element.addEventListener("keydown", onPointKey);
  element.addEventListener("keyup", () => { if (!drag) finish(); });
  element.addEventListener("focusout", () => { if (!drag) finish(); });
  element.addEventListener("dblclick", (event) => event.stopPropagation());
  // Delete, letters and the like are the canvas's shortcuts, but not while something in here has the focus.
  element.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Escape") event.stopPropagation();
  });
  element.addEventListener("pointerenter", () => { if (!drag) render(); });

  const observer = new ResizeObserver(() => draw());
  observer.observe(plot.element);
  render();
  return {
    element,
    render,
    destroy: () => {
      observer.disconnect();
      clearTimeout(pause);
      drag = undefined;
      finish();
    },
  };
}

/**
 * Shows a value in a field, but not over what somebody is typing.
 * @param {HTMLInputElement} field
 * @param {string} value
 */
function show(field, value) {
  if (document.activeElement === field && field.dataset.shown !== undefined && field.value !== field.dataset.shown) return;
  field.value = value;
  field.dataset.shown = value;
}
