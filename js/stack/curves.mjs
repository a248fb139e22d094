// @ts-check
/** What the rows' schedules are, as curves. What only Python can read, it is asked for; until it has answered, none is known. */

import { runAfter } from "../curve/run.mjs";
import { askServer } from "../curve/server.mjs";
import { courseLine, courseOf } from "../values/course.mjs";
import { curvesOf, readSchedule } from "../values/schedule.mjs";

/** @import { Api, GraphNode } from "../types.d.ts" */
/** @typedef {import("../values/schedule.mjs").Curve} Curve */

const PAUSE = 250; // milliseconds without a change, while somebody types
const MOST = 1000; // answers that are kept

/**
 * @typedef {object} Known of a schedule
 * @property {string | null} line of its picture
 * @property {number[] | null} course its weights over the run
 */

/**
 * @param {Api} api
 * @param {GraphNode} node whose sampler's steps are the run
 * @param {() => void} onAnswer called when more is known
 */
export function createCurves(api, node, onAnswer) {
  /** @type {Map<string, Curve[] | null>} by text; null for what Python cannot read either, and while it is asked */
  const answers = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  /** @param {Set<string>} texts */
  const ask = async (texts) => {
    if (answers.size + texts.size > MOST) answers.clear();
    for (const text of texts) answers.set(text, null);
    const run = runAfter(node);
    await Promise.all([...texts].map(async (text) =>
      answers.set(text, curvesOf(await askServer(api, text, run).catch(() => null)))));
    onAnswer();
  };
  return {
    /** Asks for what cannot be read here. @param {string[]} texts of all rows */
    about(texts) {
      clearTimeout(waiting);
      const unread = new Set(texts.filter((text) => text && !answers.has(text) && !readSchedule(text)));
      if (unread.size) waiting = setTimeout(() => void ask(unread), PAUSE);
    },
    /** @param {string} text @returns {Known} */
    of(text) {
      const curves = text ? readSchedule(text) ?? answers.get(text) : null;
      if (!curves) return { line: null, course: null };
      const isBySteps = curves.some(({ unit }) => unit === "step");
      return { line: courseLine(curves, isBySteps ? runAfter(node) : {}), course: courseOf(curves) };
    },
  };
}

/** @typedef {ReturnType<typeof createCurves>} Curves */
