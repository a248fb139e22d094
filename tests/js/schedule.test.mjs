// Schedules as the editor edits them. That Python reads the same texts is in test_same_as_python.py.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EASINGS, easingOf, easingTyped } from "../../js/values/easings.mjs";
import { PRESETS, presetTyped } from "../../js/values/presets.mjs";
import {
  curvesOf, insertPoint, invertedCurve, isValid, mirroredCurve, movePoint, readSchedule, removePoint, weightAt, writeNumber,
  writePosition, writeSchedule,
} from "../../js/values/schedule.mjs";

const curve = (/** @type {string} */ text) => /** @type {import("../../js/values/schedule.mjs").Curve[]} */ (readSchedule(text))[0];
const text = (/** @type {import("../../js/values/schedule.mjs").Curve | null} */ one) => one && writeSchedule([one]);

test("weights between keyframes", () => {
  const ramp = curve("0:0, 0.5:1, 1:0");
  assert.equal(weightAt(ramp, 0.25), 0.5);
  assert.equal(weightAt(ramp, 0.75), 0.5);
  assert.equal(weightAt(ramp, 2), 0);
  assert.equal(weightAt(curve("0.5:2"), 0), 2);
  assert.equal(weightAt(curve("0:1 hold, 0.5:0"), 0.49), 1);
  assert.equal(weightAt(curve("0:1 hold, 0.5:0"), 0.5), 0);
  assert.equal(weightAt(curve("0:0 ease-in, 1:1"), 0.5), 0.25);
  assert.equal(weightAt(curve("0:0 ease-out, 1:1"), 0.5), 0.75);
  assert.equal(weightAt(curve("sigma 10:1, 0:0"), 2.5), 0.25);
});

test("at a jump the later weight counts", () => {
  assert.equal(weightAt(curve("0.5:0, 0.5:1"), 0.5), 1);
  assert.equal(weightAt(curve("0.5:0, 0.5:1"), 0.4999), 0);
});

test("an easing begins at 0, and what goes there and back is symmetric", () => {
  for (const { word, shape, mirrored } of EASINGS) {
    if (word === "hold") continue;
    assert.equal(shape(0), 0, word);
    const back = easingOf(mirrored);
    for (const x of [0.1, 0.37, 0.5, 0.9]) assert.ok(Math.abs(shape(x) - (1 - /** @type {any} */ (back).shape(1 - x))) < 1e-12, word);
  }
});

test("easings and presets as people type them", () => {
  assert.equal(easingTyped("Ease_In")?.word, "ease-in");
  assert.equal(easingTyped(" ease ")?.word, "ease-in-out");
  assert.equal(easingTyped(""), undefined);
  assert.equal(presetTyped("Fade_In")?.name, "fade-in");
  assert.equal(presetTyped("fade"), undefined);
});

test("every preset is in the canonical form", () => {
  for (const preset of PRESETS) assert.equal(writeSchedule(/** @type {any} */ (readSchedule(preset.text))), preset.text, preset.name);
});

describe("numbers", () => {
  for (const [value, written] of /** @type {const} */ ([[1, "1"], [0.3, "0.3"], [-0, "-0"], [1e-7, "1e-07"], [1e16, "1e+16"], [100, "100"]])) {
    test(written, () => assert.equal(writeNumber(value), written));
  }
  test("positions are fractions where those read better", () => {
    assert.equal(writePosition(1 / 3), "1/3");
    assert.equal(writePosition(2 / 3), "2/3");
    assert.equal(writePosition(0.25), "0.25");
    assert.equal(writePosition(0.123456789), "0.123456789");
  });
});

describe("edits", () => {
  test("a point is put in with the way of the one before it", () => {
    const added = insertPoint(curve("0:0 cosine, 1:1"), 0.5);
    assert.equal(added?.index, 1);
    assert.equal(text(added?.curve ?? null), "0:0 cosine, 0.5:0.5 cosine, 1:1");
    assert.equal(insertPoint(curve("0.5:0, 0.5:1"), 0.5), null);
    assert.equal(text(insertPoint(curve("0:0, 1:1"), 0.5, 200)?.curve ?? null), "0:0, 0.5:100, 1:1");
  });
  test("the last point stays", () => {
    assert.equal(text(removePoint(curve("0:0, 0.5:1, 1:0"), 1)), "0:0, 1:0");
    assert.equal(text(removePoint(curve("0.8"), 0)), "0.8");
  });
  test("points never pass each other", () => {
    assert.equal(text(movePoint(curve("0:0, 0.5:1, 1:0"), 1, { at: 2 })), "0:0, 1:1, 1:0");
    assert.equal(text(movePoint(curve("0:0, 0.5:1, 1:0, 1:1"), 1, { at: 2 })), "0:0, 0.99:1, 1:0, 1:1");
    assert.equal(text(movePoint(curve("sigma 14:0, 7:1, 7:0"), 0, { at: 3 })), "sigma 7.01:0, 7:1, 7:0");
  });
  test("inverted", () => {
    assert.equal(text(invertedCurve(curve("0:0, 0.3:0.9, 1:1"))), "0:1, 0.3:0.1, 1:0");
    assert.equal(invertedCurve(curve("0:-99.5, 1:1")), null);
  });
  test("mirrored", () => {
    assert.equal(text(mirroredCurve(curve("0:0 ease-in, 0.25:1, 1:1"), 0, 1)), "0:1, 0.75:1 ease-out, 1:0");
    assert.equal(text(mirroredCurve(curve("0:1 hold, 1/3:0"), 0, 1)), "2/3:0, 2/3:1");
  });
});

test("what Python would not take is not valid", () => {
  const point = { at: 0, weight: 1, easing: "linear" };
  const valid = (/** @type {any[]} */ ...keyframes) => isValid([{ unit: "progress", keyframes }]);
  assert.equal(valid(point), true);
  assert.equal(valid(), false);
  assert.equal(valid({ ...point, at: 2 }), false);
  assert.equal(valid({ ...point, weight: 101 }), false);
  assert.equal(valid({ ...point, easing: "springy" }), false);
  assert.equal(valid({ ...point, at: 1 }, point), false);
  assert.equal(valid(point, point, point), false);
  assert.equal(valid(...Array(1001).fill(null).map((_, index) => ({ ...point, at: index / 1001 }))), false);
  const twenty = { unit: /** @type {const} */ ("progress"), keyframes: [{ ...point, weight: 20 }] };
  assert.equal(isValid([twenty, twenty]), false); // 400
});

test("the server's answer", () => {
  const keyframes = /** @type {any} */ ([
    { at: 0, unit: "progress", weight: 1, easing: "linear", curve: 0 }, { at: 1, unit: "step", weight: 2, easing: "hold", curve: 1 },
  ]);
  assert.equal(writeSchedule(/** @type {any} */ (curvesOf({ keyframes }))), "1 * step 1:2 hold");
  assert.equal(curvesOf({ error: "no" }), null);
  assert.equal(curvesOf(null), null);
});
