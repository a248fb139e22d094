// @ts-check
/** What the editor is about: the host's text as curves, which point of which curve is selected, and what is wrong. */

import { t } from "../base/words.mjs";
import { LINEAR } from "../values/easings.mjs";
import { clamp } from "../values/numbers.mjs";
import { curvesOf, readSchedule, writeSchedule } from "../values/schedule.mjs";

/**
 * @typedef {import("../values/schedule.mjs").Curve} Curve
 * @typedef {import("./editor.mjs").Host} Host
 */

const PAUSE = 250; // milliseconds without typing before the server is asked

export class CurveState {
  /** @type {Curve[]} nearly always one; of a product, its factors */
  curves = [levelCurve()];
  /** Number of the curve that is edited. */
  which = 0;
  /** Number of its selected keyframe. */
  selected = 0;
  /** @type {"ready" | "asking" | "wrong" | "locked"} */
  phase = "ready";
  /** Why the text cannot be shown; empty while nothing is wrong. */
  error = "";
  /** @type {string | undefined} the text that the curves are for */
  shown;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  pause;

  /**
   * @param {Host} host
   * @param {() => void} onAnswer called when the server has said what a text means
   */
  constructor(host, onAnswer) {
    this.host = host;
    this.onAnswer = onAnswer;
  }

  get isReady() {
    return this.phase === "ready";
  }

  get curve() {
    return this.curves[this.which];
  }

  get keyframe() {
    return this.curve.keyframes[this.selected];
  }

  /** Selects the point with this number, or the nearest one. @param {number} index */
  select(index) {
    this.selected = clamp(index, 0, this.curve.keyframes.length - 1);
  }

  /**
   * Reads the host's value again.
   * @returns {boolean} whether it was another text
   */
  refresh() {
    const { text, locked } = this.host.read();
    const isOther = text !== this.shown;
    if (isOther) this.read(text);
    if (locked) this.phase = "locked";
    else if (this.phase === "locked") { // no longer: what the server has said meanwhile does not count
      this.phase = this.error ? "wrong" : "ready";
      this.shown = undefined;
      return this.refresh() || isOther;
    }
    return isOther;
  }

  /** @param {string} text */
  read(text) {
    this.shown = text;
    clearTimeout(this.pause);
    const isEmpty = !text.trim();
    const found = isEmpty ? null : readSchedule(text);
    if (found) this.take(found);
    else if (isEmpty && this.host.whenEmpty) this.take([levelCurve()]);
    else {
      this.phase = "asking";
      this.error = "";
      this.pause = setTimeout(() => void this.ask(text), PAUSE);
    }
  }

  /** @param {string} text that only Python can read */
  async ask(text) {
    try {
      const answer = await this.host.ask(text);
      if (this.shown !== text) return;
      const found = curvesOf(answer);
      const error = answer?.error ?? t("The text could not be read");
      if (found) this.take(found);
      else this.fail(answer?.column ? t("Column {column}: {error}", { column: answer.column, error }) : error);
    } catch (reason) {
      if (this.shown !== text) return;
      this.fail(t("The text could not be read: {error}", { error: String(/** @type {Error} */ (reason)?.message ?? reason) }));
    }
    if (this.host.read().locked) this.phase = "locked";
    this.onAnswer();
  }

  /** @param {Curve[]} curves */
  take(curves) {
    this.curves = curves;
    this.which = Math.min(this.which, curves.length - 1);
    this.phase = "ready";
    this.error = "";
  }

  /** @param {string} error */
  fail(error) {
    this.phase = "wrong";
    this.error = error;
  }

  /**
   * Takes curves that were edited, and hands their text to the host.
   * @param {Curve[]} curves
   */
  put(curves) {
    this.curves = curves;
    this.shown = writeSchedule(curves);
    this.host.write(this.shown);
  }

  /** Asks nothing any more. */
  stop() {
    clearTimeout(this.pause);
  }
}

/** @returns {Curve} the weight 1 at every step */
function levelCurve() {
  return { unit: "progress", keyframes: [{ at: 0, weight: 1, easing: LINEAR }] };
}
