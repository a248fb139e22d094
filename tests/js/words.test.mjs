import assert from "node:assert/strict";
import { test } from "node:test";

import { inWords, loadWords, t, told } from "../../js/base/words.mjs";

const ZH = {
  lorchestra: { "{count} LoRAs": "{count} 个 LoRA" },
  lorchestraSentences: {
    "row {row}: {reason}": "第 {row} 行：{reason}",
    "{lora} was not found": "未找到 {lora}",
    toString: "never asked for",
  },
};
const said = (key, values = {}) => ({ key, values });

test("sentences of the server", async (context) => {
  const english = said("row {row}: {reason}", { row: "2", reason: said("{lora} was not found", { lora: "a" }) });
  await context.test("are English without translations", () => {
    assert.equal(told(english), "row 2: a was not found");
    assert.equal(told("as it is"), "as it is");
  });

  await loadWords({ fetchApi: async () => new Response(JSON.stringify({ zh: ZH })) }, "zh-TW");
  await context.test("are translated part by part", () => {
    assert.equal(t("{count} LoRAs", { count: 2 }), "2 个 LoRA");
    assert.equal(told(english), "第 2 行：未找到 a");
    assert.equal(told(said("row {row}: {reason}", { row: "1", reason: "in English" })), "第 1 行：in English");
    assert.equal(told(said("unknown {what}", { what: said("{lora} was not found", { lora: "b" }) })), "unknown 未找到 b");
  });
  await context.test("are filled in once", () => {
    assert.equal(told(said("{lora} was not found", { lora: "{row} {lora}" })), "未找到 {row} {lora}");
    assert.equal(told(said("{lora} was not found")), "未找到 {lora}");
    assert.equal(told(said("valueOf {x}", { x: "1" })), "valueOf 1");
  });
  await context.test("take the place of the English ones in answers", () => {
    const answer = { sentence: "row 2: a was not found", state: "missing", said: { sentence: english } };
    assert.equal(inWords(answer).sentence, "第 2 行：未找到 a");
    assert.equal(inWords(answer).state, "missing");
    assert.deepEqual(inWords({ sentence: "plain" }), { sentence: "plain" });
    assert.equal(inWords(null), null);
  });
  await context.test("do not go too deep", () => {
    let deep = "end";
    for (let level = 0; level < 5000; level += 1) deep = said("({x})", { x: deep });
    assert.match(told(deep), /^\({201}\{x\}\){201}$/);
  });
});
