// A row's weight over the run, in a few numbers and as a small picture.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { courseLine, courseOf, inShort, scaled } from "../../js/values/course.mjs";
import { PRESETS } from "../../js/values/presets.mjs";
import { readSchedule } from "../../js/values/schedule.mjs";

const read = (/** @type {string} */ text) => /** @type {import("../../js/values/schedule.mjs").Curve[]} */ (readSchedule(text));
const course = (/** @type {string} */ text) => courseOf(read(text));

describe("the weights at the start, where it turns, and at the end", () => {
  for (const [text, expected] of /** @type {const} */ ([
    ["0:0, 1:1", [0, 1]],
    ["0:0, 0.3:1", [0, 1]],
    ["0:0, 0.2:0.3, 0.5:1", [0, 1]],
    ["bell", [0, 1, 0]],
    ["valley", [1, 0, 1]],
    ["0:0, 0.2:1, 0.8:1, 1:0", [0, 1, 0]],
    ["0.5", [0.5]],
    ["0.7:0.5", [0.5]],
    ["0:1, 1:1", [1]],
    ["first half", [1, 0]],
    ["step 1:1 hold, 2:0", [1, 0]],
    ["sigma 14:0, 7:1", [0, 1]],
    ["0:0, 1:1 * 0.5", [0, 0.5]],
    ["bell * 0:1, 1:1 * 2", [0, 2, 0]],
  ])) test(text, () => assert.deepEqual(course(text), expected));
});

test("a jump at the start or at the end is never come to", () => {
  assert.deepEqual(course("0:0, 0:1"), [1]);
  assert.deepEqual(course("0:1 hold, 1:0"), [1]);
  assert.deepEqual(course("0:1, 1:1, 1:0"), [1]);
  assert.deepEqual(course("0:1 hold, 0.5:0 hold, 1:1"), [1, 0]);
  assert.deepEqual(course("0:1, 0.5:0"), [1, 0]);
  assert.deepEqual(course("0:2, 1:1 * 0:1 hold, 1:0"), [2, 1], "of a product, too");
  assert.deepEqual(course("0:0, 0:1 * 0:2, 1:1"), [2, 1]);
});

test("a product turns where its curves together do", () => {
  assert.deepEqual(course("0:0, 1:1 * 0:1, 1:0"), [0, 0.25, 0]);
  assert.deepEqual(course("0:0, 1:1 * 0.5:1 hold, 0.75:0"), [0, 0.75, 0]);
  assert.equal(course("0:0, 1:1 * step 1:1, 5:0"), null, "by different units, only the run tells");
});

describe("in short", () => {
  for (const [text, weight, expected] of /** @type {const} */ ([
    ["0:0, 1:1", 0.75, "0→0.75"],
    ["0:0, 1:1", -0.75, "0→-0.75"],
    ["bell", 1, "0→1→0"],
    ["bell", 0.75, "0→0.75→0"],
    ["valley", 0.75, "0…0.75"],
    ["0:0.1, 1:1", 1.25, "0.13→1.25"],
    ["0:0, 0.3:1, 0.6:0.2, 1:0.5", 0.5, "0…0.5"],
    ["constant", 0.75, "0.75"],
    ["0.5", 0.75, "0.75×0.5"],
    ["0:0, 1:1", 0, "0.00"],
    ["0:1, 1:1", 0.125, "0.125"],
  ])) test(`${weight}, ${text}`, () => assert.equal(inShort(weight, course(text)), expected));
  test("without a course it is the weight", () => assert.equal(inShort(0.75, null), "0.75"));
});

test("weights that come out the same are one", () => {
  assert.deepEqual(scaled(0, [0, 1, 0]), [0]);
  assert.deepEqual(scaled(2, [0, 1, 0]), [0, 2, 0]);
  assert.deepEqual(scaled(0.75, null), [0.75]);
});

test("the picture of every preset lies in its box and is another one", () => {
  const lines = PRESETS.map(({ text }) => courseLine(read(text)));
  assert.equal(new Set(lines).size, lines.length - 2, "without a run, the first step looks like the first third, two like the first half");
  const few = read("step 1:1 hold, 5:0");
  assert.equal(courseLine(few, { steps: 16 }), "M1.5 3L1.5 3H4.75L4.75 13H14.5", "4 of 16 steps");
  for (const line of [...lines, courseLine(read("0:-3, 1:5")), courseLine(read("bell * fade-in"))]) {
    assert.match(String(line), /^M[-\d. LHM]+$/);
    for (const number of String(line).match(/-?[\d.]+/g) ?? []) assert.ok(Number(number) >= 1.5 && Number(number) <= 14.5, `${line}`);
  }
  assert.equal(courseLine(read("0:0, 1:1 * step 1:1, 5:0")), null);
});
