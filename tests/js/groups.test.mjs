// Groups of rows: where a row goes, and what is kept in order. That they compute what Python does is in test_same_as_python.py.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { flat, freeName, groupsOf, itemsOf, joined, placeAt, tidied } from "../../js/values/groups.mjs";
import { sha256 } from "../../js/values/sha256.mjs";
import { promptText, readStack, writeStack } from "../../js/values/stack.mjs";

/** @param {string} rows like "a:g b:g c" @param {object} [more] of the group g */
function stackOf(rows, more = {}) {
  const all = rows.split(" ").filter(Boolean).map((row) => {
    const [lora, group] = row.split(":");
    return { lora, ...(group && { group }) };
  });
  const names = [...new Set(all.flatMap(({ group }) => group ?? []))];
  return { rows: all, more: { groups: names.map((name) => ({ name, ...more })) } };
}

/** @param {Pick<import("../../js/values/stack.mjs").Stack, "rows" | "more">} stack */
const told = ({ rows }) => rows.map(({ lora, group }) => (group ? `${lora}:${group}` : lora)).join(" ");

/** @param {ReturnType<typeof stackOf>} stack @param {number} index @param {number} item */
function dropped(stack, index, item) {
  const { to, group } = placeAt(stack, index, item);
  const rows = stack.rows.filter((_, at) => at !== index);
  const { group: _, ...row } = stack.rows[index];
  rows.splice(to, 0, group === undefined ? row : { ...row, group });
  return told(tidied(rows, stack.more));
}

test("a row goes into a group and out of it by its place", () => {
  // items of "a:g b:g c d": 0 the head, 1 a, 2 b, 3 c, 4 d
  for (const [index, item, rows] of /** @type {[number, number, string][]} */ ([
    [2, 0, "c a:g b:g d"], [2, 1, "c:g a:g b:g d"], [2, 2, "a:g c:g b:g d"], [2, 3, "a:g b:g c d"], [3, 3, "a:g b:g d c"],
    [0, 0, "a b:g c d"], [0, 1, "a:g b:g c d"], [0, 2, "b:g a:g c d"], [0, 3, "b:g c a d"], [1, 4, "a:g c d b"],
  ])) assert.equal(dropped(stackOf("a:g b:g c d"), index, item), rows, `${index} → ${item}`);
  assert.equal(dropped(stackOf("a:g b"), 0, 1), "a:g b");
  assert.equal(dropped(stackOf("a b c"), 0, 2), "b c a");
});

test("the rows of a folded group are not seen, and stay together", () => {
  const stack = stackOf("a:g b:g c d", { folded: true });
  assert.deepEqual(itemsOf(stack), [{ group: "g" }, { row: 2, group: undefined }, { row: 3, group: undefined }]);
  assert.equal(dropped(stack, 3, 1), "a:g b:g d:g c");
  assert.equal(dropped(stack, 3, 0), "d a:g b:g c");
});

test("rows of a group are put side by side, and groups without rows go", () => {
  const { rows, more } = stackOf("a:g b c:g d:h");
  assert.equal(told(tidied(rows, more)), "a:g c:g b d:h");
  assert.deepEqual(groupsOf(tidied(rows.slice(0, 3), more).more), [{ name: "g" }]);
  assert.equal(tidied(rows.slice(1, 2), more).more.groups, undefined);
  assert.equal(told(tidied([{ lora: "x", group: "gone" }], more)), "x");
  assert.equal(told(tidied([{ lora: "x", group: "kept" }], {})), "x:kept"); // without groups, a key like any other
});

test("another stack's groups come along", () => {
  assert.equal(told(joined(stackOf("a:g"), stackOf("b:g c"))), "a:g b:g 2 c");
  assert.equal(freeName("x".repeat(80), [{ name: "x".repeat(80) }]).length, 80);
});

test("what is folded or off is not in the prompt", () => {
  /** @param {object} group */
  const text = (group) => {
    const { rows, more } = stackOf("a:g b");
    return writeStack({ ...readStack(""), more: { groups: groupsOf(more).map((one) => ({ ...one, ...group })) } }, rows);
  };
  assert.equal(promptText(text({ factor: 0.5 })), text({ factor: 0.5 }));
  assert.equal(promptText(text({ factor: 0.5, folded: true })), text({ factor: 0.5 }));
  const off = JSON.parse(promptText(text({ on: false })));
  assert.deepEqual(off, { version: 1, loras: [{ lora: "b" }] });
  assert.equal(promptText(text({ factor: 0, folded: true })), promptText(text({ on: false })));
});

test("two hundred rows of one group", () => {
  const stack = stackOf(Array.from({ length: 200 }, (_, index) => `${index}:g`).join(" "), { pick: "one" });
  assert.equal(flat(stack, `${2n ** 64n - 1n}`).filter(({ on }) => on !== false).length, 1);
});

test("SHA-256", () => {
  for (const text of ["", "abc", "ü🎨", ..."x".repeat(70).split("").map((_, length) => "y".repeat(length + 50))]) {
    assert.equal(sha256(text), createHash("sha256").update(text).digest("hex"));
  }
});

test("what is wrong is said in words", () => {
  for (const [groups, words] of /** @type {[unknown, string][]} */ ([
    [{}, "not a list"], [[{}], "name"], [[{ name: "g" }, { name: "g" }], "two groups"], [[{ name: "g", factor: 101 }], '"factor"'],
    [[{ name: "g", on: 1 }], '"on"'], [[{ name: "g", pick: "two" }], '"pick"'], [[{ name: "h" }], "no group"], [[{ name: "g", factor: 100 }], "factor of its group"],
  ])) {
    const { error } = readStack(JSON.stringify({ groups, loras: [{ lora: "a", model: 2, group: "g" }] }));
    assert.ok(error.includes(words), `${words}: ${error}`);
  }
});
