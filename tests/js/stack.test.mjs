// Rows as the list reads and writes them. That Python reads the same is in test_same_as_python.py.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import {
  changed, clipWeight, EMPTY, inWords, isOn, modelWeight, moved, promptText, readStack, told, toText, writeStack,
} from "../../js/values/stack.mjs";

const cases = JSON.parse(readFileSync(new URL("stacks.json", import.meta.url), "utf8"));

describe("what Python reads", () => {
  for (const [text, words] of cases.good) test(text || "an empty text", () => assert.equal(inWords(readStack(text)), words));
});

describe("what Python refuses is said in words, and enters the prompt as it is", () => {
  for (const [text, words] of cases.bad) {
    test(text, () => {
      assert.ok(inWords(readStack(text)).startsWith(words), inWords(readStack(text)));
      assert.equal(promptText(text), text);
    });
  }
});

describe("what only Python can tell is left to it, and enters the prompt as it is", () => {
  for (const text of cases.asked) {
    test(text, () => {
      const stack = readStack(text);
      assert.equal(stack.asks, true);
      assert.equal(inWords(stack), "Reading the text …");
      assert.equal(promptText(text), text);
    });
  }
  test("what it tells", () => {
    const stack = told([{ lora: "a", model: 1 }], ["tag: one", "tag: two"]);
    assert.equal(inWords(stack), "1 LoRA, not kept from the text: tag: one; tag: two");
    assert.equal(inWords(told([{ lora: "a" }], [])), "1 LoRA");
    assert.equal(writeStack(stack, stack.rows), '{"version": 1, "loras": [\n  {"lora": "a", "model": 1}\n]}');
  });
});

describe("other programs' rows become ours", () => {
  const row = (/** @type {string} */ text) => readStack(text).rows[0];
  test("Runware", () => {
    assert.deepEqual(row('[{"model": "civitai:1@2", "weight": 0.7}]'), { lora: "civitai:1@2", model: 0.7, air: "civitai:1@2" });
    assert.deepEqual(row('[{"model": "pixel", "transformer": "high"}]'), { lora: "pixel", model: 1, expert: "high" });
    assert.deepEqual(row('[{"model": "pixel", "transformer": "x"}]'), { lora: "pixel", model: 1, transformer: "x" });
  });
  test("a LORA_STACK", () => {
    assert.deepEqual(readStack('[["a", 1, 0.5], ["b", 1, 1]]').rows, [{ lora: "a", model: 1, clip: 0.5 }, { lora: "b", model: 1 }]);
  });
  test("rgthree", () => {
    assert.deepEqual(row('[{"lora": "a", "on": true, "strength": 0.3, "strengthTwo": 0.2}]'), { lora: "a", on: true, model: 0.3, clip: 0.2 });
  });
  test("<lora:…> text", () => {
    assert.deepEqual(row("<lora:a>"), { lora: "a", model: 1 });
    assert.deepEqual(row("<lora:a:0.5:0.6:8>"), { lora: "a", model: 0.6, clip: 0.5, dyn: 8 });
    assert.deepEqual(row("<lyco:a b:-.5:1.>"), { lora: "a b", model: 1, clip: -0.5 });
  });
});

test("weights of a row that names none", () => {
  assert.equal(modelWeight({ lora: "a" }), 0.75);
  assert.equal(clipWeight({ lora: "a" }), null);
  assert.equal(clipWeight({ lora: "a", clip: 0 }), 0);
  assert.equal(isOn({ lora: "a" }), true);
  assert.equal(isOn({ lora: "a", on: false }), false);
});

test("a changed row keeps the order of its keys, ours first, and what is not known here", () => {
  assert.equal(JSON.stringify(changed({ later: 1, model: 2, lora: "a" }, { on: false })), '{"lora":"a","on":false,"model":2,"later":1}');
  assert.equal(JSON.stringify(changed({ lora: "a", on: false, clip: 1 }, { on: undefined })), '{"lora":"a","clip":1}');
});

test("a row is moved to its place afterwards", () => {
  assert.deepEqual(moved(["a", "b", "c", "d"], 0, 2), ["b", "c", "a", "d"]);
  assert.deepEqual(moved(["a", "b", "c", "d"], 3, 0), ["d", "a", "b", "c"]);
});

test("only rows that are on enter the prompt", () => {
  const on = { lora: "a", model: 1, later: 2 };
  const off = { lora: "b", on: false, model: 3 };
  const text = JSON.stringify({ version: 1, loras: [on, off], mine: 1, collapsed: true });
  const prompt = promptText(text);
  assert.deepEqual(JSON.parse(prompt), { version: 1, loras: [on], mine: 1 });
  assert.equal(promptText(text.replace('"model":3', '"model":4')), prompt);
  const allOn = JSON.stringify({ loras: [on] }, null, 3);
  assert.equal(promptText(allOn), allOn);
});

test("a row is a line of the text", () => {
  const stack = readStack('{"x": [1], "loras": [{"lora": "a", "model": 2, "y": {"b": 0}}]}');
  assert.equal(
    writeStack(stack, [...stack.rows, { lora: "new", model: 2 }]),
    '{"version": 1, "loras": [\n  {"lora": "a", "model": 2, "y": {"b": 0}},\n  {"lora": "new", "model": 2}\n], "x": [1]}',
  );
  assert.equal(writeStack(readStack(EMPTY), []), EMPTY);
});

test("values from elsewhere become text", () => {
  assert.equal(toText("<lora:a>"), "<lora:a>");
  assert.equal(toText(null), EMPTY);
  assert.equal(toText({ loras: [] }), '{"loras":[]}');
});
