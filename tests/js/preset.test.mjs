// Presets: names of files, and what is in files that other people wrote.
import assert from "node:assert/strict";
import { test } from "node:test";
import { found, problemOfName, readPreset, rowsText, writePreset } from "../../js/values/preset.mjs";

const STACK = { rows: [{ lora: "a", model: 0.5, group: "g", sha256: "0".repeat(64) }, { lora: "b" }], more: { groups: [{ name: "g", factor: 0.5 }], collapsed: true } };
const PICTURE = "data:image/webp;base64,UklGRg==";

test("names lead nowhere, and are names on every system", () => {
  for (const name of ["", " ", "../x", "a/b", "a\\b", "..", ".x", "x.", " x", "x ", "con", "CON.json", "com1", "LPT9.x", "nul", "a:b", "a\nb", "a\0", "a*", "\ud800", "x".repeat(81), "<b>"]) {
    assert.notEqual(problemOfName(name), "", JSON.stringify(name));
  }
  for (const name of ["style", "Ghibli & co", "猫 🎨", "v1.2", "con artist", "com", "x".repeat(80), "%2e%2e", "__proto__"]) assert.equal(problemOfName(name), "", name);
});

test("names that differ in case or spelling alone are one", () => {
  assert.match(problemOfName("STYLE", ["style"]), /style/);
  assert.notEqual(problemOfName("e\u0301", ["\u00e9"]), "");
  assert.equal(problemOfName("style 2", ["style"]), "");
});

test("a preset comes back as it was saved, without what only the face uses", () => {
  const preset = { name: "x", note: 'two\n"lines"', picture: PICTURE, stack: STACK, problem: "" };
  const again = readPreset("x", writePreset(preset));
  assert.deepEqual(again, { ...preset, stack: { rows: STACK.rows, more: { groups: STACK.more.groups } } });
  assert.equal(JSON.parse(writePreset({ ...preset, picture: "javascript:alert(1)" })).picture, undefined);
  const some = readPreset("x", writePreset({ ...preset, stack: { ...STACK, rows: STACK.rows.slice(1) } })); // the group has no row then
  assert.deepEqual(some.stack, { rows: [{ lora: "b" }], more: {} });
});

test("broken and foreign files are told in words", () => {
  for (const text of ["", "{", "[]", "3", "null", "{}", '{"kind": "lorchestra-preset", "version": 2, "stack": {"loras": []}}',
    '{"kind": "lorchestra-preset", "version": 1}', '{"kind": "lorchestra-preset", "version": 1, "stack": {"loras": [3]}}', '{"loras": {}}']) {
    const preset = readPreset("x", text);
    assert.ok(preset.problem.length > 5, text);
    assert.deepEqual(preset.stack.rows, []);
  }
  const odd = readPreset("x", '{"kind": "lorchestra-preset", "version": 1, "note": 5, "picture": "https://x/a.png", "stack": {"loras": [{"lora": "a"}]}}');
  assert.deepEqual([odd.problem, odd.note, odd.picture, odd.stack.rows.length], ["", "", "", 1]);
  assert.equal(readPreset("x", '{"version": 1, "loras": [{"lora": "a"}]}').stack.rows.length, 1); // a bare stack is as good
});

test("search", () => {
  const presets = ["Night", "day"].map((name) => ({ ...readPreset(name, '{"loras": [{"lora": "styles/pixel"}]}'), note: name === "day" ? "Sunny" : "" }));
  assert.deepEqual(["", "NIGHT", "pixel sun", "none"].map((query) => found(presets, query).length), [2, 1, 1, 0]);
});

test("rows of rgthree's loader in a saved workflow", () => {
  const row = { on: true, lora: "a.safetensors", strength: 0.5, strengthTwo: null };
  const workflow = { nodes: [{ type: "KSampler", widgets_values: [1, "x"] }, { type: "Power Lora Loader (rgthree)", widgets_values: [{}, { type: "header" }, row, ""] }] };
  assert.deepEqual(JSON.parse(rowsText(JSON.stringify(workflow))), [row]);
  for (const text of ["<lora:a:1>", '{"nodes": []}', '{"loras": []}']) assert.equal(rowsText(text), text);
});
