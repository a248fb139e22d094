// @ts-check
/** A thin bar below each row: how strong it is against the other rows, also while its weight is dragged. */

import { create, setAttribute, useStyle } from "../base/dom.mjs";
import { inputNamed } from "../base/graph.mjs";
import { ask } from "../base/server.mjs";
import { setting } from "../base/settings.mjs";
import { inWords, t } from "../base/words.mjs";
import { ROW_HEIGHT } from "../stack/style.mjs";
import { splitName } from "../values/numbers.mjs";
import { askedOf, barsOf, isActive } from "../values/strengths.mjs";

/** @import { Comfy, GraphNode } from "../types.d.ts" */
/** @typedef {import("../values/stack.mjs").Row} Row */
/** @typedef {import("../values/strengths.mjs").Known} Known */

const PAUSE = 400; // milliseconds without another row
const OLD = 60_000; // after which a file may have changed
const RETRY = 30_000; // after the server did not answer
const MOST_ROWS = 200;
const LEAST = 0.004; // of the strongest row's: what is there can be seen
const STYLE = `
.lorchestra-row { position: relative; }
.lorchestra-strength {
  position: absolute; top: ${ROW_HEIGHT - 3}px; inset-inline: 54px 28px; height: 2px; border-radius: 1px; pointer-events: none;
  background: color-mix(in srgb, var(--lorchestra-text) 9%, transparent); overflow: hidden;
}
.lorchestra-strength::before {
  content: ""; position: absolute; inset-block: 0; inset-inline-start: 0; width: var(--lorchestra-length, 0); border-radius: 1px;
  background: var(--lorchestra-accent); opacity: 0.75;
}
`;

/** @type {Map<string, {known: Known, since: number}>} what is known of files, for all stacks; by what was asked */
const answers = new Map();

/**
 * @param {Comfy} comfy
 * @param {GraphNode} node whose rows they are
 * @param {() => void} onAnswer called when more is known
 */
export function createBars(comfy, node, onAnswer) {
  useStyle("strengths", STYLE);
  /** @type {WeakMap<HTMLElement, HTMLElement>} */
  const bars = new WeakMap();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  let isAsking = false;
  let failed = 0;

  /** @param {Row} row */
  const find = (row) => answers.get(JSON.stringify(askedOf(row)))?.known;

  /** @param {Row[]} asked @param {boolean} measure */
  const askFor = async (asked, measure) => {
    const { rows } = /** @type {{rows: (Known | null)[]}} */ (await ask(comfy, "/lorchestra/strengths", { loras: asked, measure }));
    asked.forEach((row, index) => {
      const known = rows[index];
      if (known) answers.set(JSON.stringify(row), { known: "why" in known ? inWords(known) : known, since: Date.now() });
    });
    return asked.filter((_, index) => !rows[index]);
  };
  /** @param {Row[]} asked */
  const learn = async (asked) => {
    isAsking = true;
    try {
      const left = await askFor(asked, false);
      onAnswer();
      if (left.length) { // whole files are read, when nothing runs
        await askFor(left, true);
        onAnswer();
      }
      failed = 0;
    } catch { // without an answer, rows have no bars
      failed = Date.now();
    } finally {
      isAsking = false;
    }
  };
  /** @param {Row[]} rows */
  const about = (rows) => {
    const active = rows.filter(isActive);
    if (isAsking || active.length < 2 || active.length > MOST_ROWS || Date.now() - failed < RETRY) return;
    const asked = new Map(active.map((row) => {
      const one = askedOf(row);
      return [JSON.stringify(one), one];
    }));
    for (const [key, { since }] of answers) if (asked.has(key) && Date.now() - since < OLD) asked.delete(key);
    clearTimeout(waiting);
    if (asked.size) waiting = setTimeout(() => void learn([...asked.values()]), PAUSE);
  };

  return {
    /** @param {Row[]} rows @param {HTMLElement[]} elements of the rows */
    show(rows, elements) {
      const isWanted = setting(comfy.app, "strengthBars");
      if (isWanted) about(rows);
      const shown = isWanted ? barsOf(rows, find, inputNamed(node, "clip")?.link !== null) : [];
      rows.forEach((row, index) => {
        const one = shown[index];
        const why = one && "why" in one ? one.why : "";
        const element = elements[index];
        const weight = /** @type {HTMLElement | null} */ (element.querySelector(".lorchestra-weight"));
        let bar = bars.get(element);
        if (!bar && one && !("why" in one)) {
          bar = create("span", { class: "lorchestra-strength", role: "meter", "aria-valuemin": 0, "aria-valuemax": 100 });
          bars.set(element, bar);
          element.append(bar);
        }
        if (bar) bar.hidden = !one || "why" in one;
        if (weight) weight.title = why && t("Its strength is not known: {why}", { why });
        if (!bar || !one || "why" in one) return;
        const percent = Math.round(one.share * 100);
        const told = one.isWhole ? t("{percent} % of the stack's strength", { percent })
          : t("{percent} % of the strength of the rows whose strength is known", { percent });
        bar.style.setProperty("--lorchestra-length", `${one.share ? Math.max(one.length, LEAST) * 100 : 0}%`);
        setAttribute(bar, "aria-label", t("Strength of {name}", { name: splitName(row.lora).title || row.lora }));
        setAttribute(bar, "aria-valuenow", percent);
        setAttribute(bar, "aria-valuetext", told);
        if (weight) weight.title = told;
      });
    },
  };
}
