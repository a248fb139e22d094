// @ts-check
/**
 * The editor of weights per block: bars for all blocks of the model, the patterns that no bar can show, and the text that
 * is their value.
 */

import { create, icon, ROOT_CLASS, setAttribute, useStyle } from "../base/dom.mjs";
import { openMenu } from "../base/popup.mjs";
import { asSentence, t } from "../base/words.mjs";
import { barValue, BarValues, groupsOf, presetsFor, readBlocks } from "../values/blocks.mjs";
import { formatWeight, readNumber } from "../values/numbers.mjs";
import { createGroup } from "./bars.mjs";
import { ICONS, STYLE } from "./style.mjs";
import { barLayers, barName, presetName } from "./names.mjs";

/** @import { Bar, Block, Blocks, Group } from "../values/blocks.mjs" */

const EXAMPLE = JSON.stringify({ "double_blocks.0-5": 0.5, attn: 0 });

/**
 * What the server says of a model's blocks.
 * @typedef {object} Layout
 * @property {string} [title] of the model
 * @property {Block[]} [blocks]
 * @property {number | null} [lacking] layers of the LoRA that the model does not have
 * @property {boolean} [is_model] whether they are those of the model that is connected
 * @property {string} [note] why the LoRA's file could not be looked into
 * @property {string} [error]
 */

/**
 * @typedef {object} Host
 * @property {() => Blocks} read
 * @property {(blocks: Blocks) => void} write while it may go on
 * @property {() => void} begin what is written until `finish` is one step of undo
 * @property {() => void} finish
 * @property {() => Promise<Layout>} ask
 * @property {(text: string) => Promise<Blocks>} readVector of A1111; throws in words
 * @property {(blocks: Blocks) => Promise<string>} writeVector throws in words
 * @property {(text: string) => Promise<boolean>} copy
 */

/**
 * @param {Host} host
 * @returns {{element: HTMLElement, destroy: () => void}}
 */
export function createBlockEditor(host) {
  useStyle("blocks", STYLE);
  /** @type {Layout} */
  let layout = {};
  /** @type {Group[]} */
  let groups = [];
  /** @type {ReturnType<typeof createGroup>[]} */
  let views = [];
  let values = new BarValues([], [], host.read());
  let selected = "";
  /** @type {Blocks[]} */
  const past = [];
  /** @type {Blocks[]} */
  const future = [];
  /** @type {Blocks | null} as it was when the edit began */
  let before = null;
  let isGone = false;

  const write = () => {
    host.write(values.toBlocks());
    draw();
  };
  const begin = () => {
    if (before) return;
    before = host.read();
    host.begin();
  };
  const finish = () => {
    if (!before) return;
    if (JSON.stringify(before) !== JSON.stringify(host.read())) {
      past.push(before);
      future.length = 0;
    }
    before = null;
    host.finish();
    draw();
  };
  /** @param {Blocks} blocks one step */
  const put = (blocks) => {
    begin();
    host.write(blocks);
    values = new BarValues(groups, layout.blocks ?? [], blocks);
    finish();
  };
  /** @param {Blocks[]} from @param {Blocks[]} to */
  const turn = (from, to) => {
    const blocks = from.pop();
    if (!blocks) return;
    finish();
    to.push(host.read());
    host.begin();
    host.write(blocks);
    values = new BarValues(groups, layout.blocks ?? [], blocks);
    host.finish();
    draw();
  };
  const undo = () => turn(past, future);
  const redo = () => turn(future, past);
  /** @type {import("./bars.mjs").Hand} */
  const hand = {
    set(ids, value) {
      for (const id of ids) values.values.set(id, value);
      write();
    },
    begin, finish,
    select(id) {
      if (selected === id) return;
      selected = id;
      draw();
    },
    value: (id) => values.of(id),
    isKnown: () => typeof layout.lacking === "number",
  };

  // Head
  const presets = button(t("Presets"), () => openMenu({
    anchor: presets, label: t("Presets"),
    items: presetsFor(groups).map(({ id, blocks }) => ({ label: presetName(id), run: () => put({ ...blocks, ...values.others }) })),
  }), ICONS.more);
  setAttribute(presets, "aria-haspopup", "menu");
  const copy = button(t("Copy"), () => openMenu({
    anchor: copy, label: t("Copy"),
    items: [
      { label: t("JSON (Lorchestra)"), run: () => void copyText(JSON.stringify(host.read())) },
      { label: t("Vector lbw= (A1111)"), run: () => void copyVector() },
    ],
  }), ICONS.more);
  setAttribute(copy, "aria-haspopup", "menu");
  const back = iconButton(ICONS.undo, t("Undo"), undo);
  const forth = iconButton(ICONS.redo, t("Redo"), redo);
  const reset = button(t("Reset"), () => put({}));
  reset.title = t("The same weight everywhere");
  const title = create("strong", { text: t("Weights per block") });
  const head = create("div", { class: "lorchestra-blocks-head" }, title, presets, copy, back, forth, reset);

  // Selected bar
  const about = create("span");
  const field = create("input", {
    class: "lorchestra-field", type: "text", inputMode: "decimal", "aria-label": t("Weight of the selected bar"),
    onchange: () => {
      const value = readNumber(field.value);
      if (value !== null && selected) {
        begin();
        hand.set([selected], barValue(value));
        finish();
      }
      draw();
    },
  });
  const chosen = create("div", { class: "lorchestra-blocks-selected" }, about, field);

  // What no bar shows
  const others = create("div", { class: "lorchestra-blocks-others", role: "group", "aria-label": t("Other patterns") });
  const notes = create("div", { class: "lorchestra-blocks-notes lorchestra-quiet" });
  const status = create("p", { role: "status" });
  const text = create("textarea", {
    class: "lorchestra-field lorchestra-blocks-text", "aria-label": t("Weights per block as text"), spellcheck: false, placeholder: EXAMPLE,
    title: t("Patterns as JSON, or a vector of A1111's: lbw=1,0,0.5,…"),
    onchange: () => void takeText(text.value),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey) {
        event.preventDefault();
        void takeText(text.value);
      }
    },
  });
  const picture = create("div", { class: "lorchestra-blocks-groups" });
  const element = create("div", { class: `${ROOT_CLASS} lorchestra-blocks`, role: "group", "aria-label": t("Editor of weights per block") },
    head, picture, chosen, others, notes, text);
  // Ctrl+Z is ComfyUI's: every edit is a step of its undo, and it hears the key before anyone else.
  element.addEventListener("paste", (event) => {
    if (event.target === text || event.target instanceof HTMLInputElement) return;
    event.preventDefault();
    event.stopPropagation();
    void takeText(event.clipboardData?.getData("text/plain") ?? "");
  });
  element.addEventListener("dblclick", (event) => event.stopPropagation());

  /** @param {string} typed */
  async function takeText(typed) {
    if (JSON.stringify(host.read()) === typed.trim() || (!typed.trim() && !Object.keys(host.read()).length)) return;
    const found = typed.trim() ? readBlocks(typed) : {};
    try {
      put(found ?? await host.readVector(typed));
      setAttribute(text, "aria-invalid", null);
      say("");
    } catch (error) {
      setAttribute(text, "aria-invalid", true);
      say(asSentence(/** @type {Error} */ (error).message));
    }
  }
  /** @param {string} copied */
  async function copyText(copied) {
    say(await host.copy(copied) ? t("Copied") : t("The browser does not let the page copy"));
  }
  async function copyVector() {
    try {
      await copyText(await host.writeVector(host.read()));
    } catch (error) {
      say(asSentence(/** @type {Error} */ (error).message));
    }
  }
  /** @param {string} words */
  function say(words) {
    status.textContent = words;
    status.hidden = !words;
  }

  function draw() {
    for (const view of views) view.show(selected);
    const bar = groups.flatMap(({ bars }) => bars).find(({ id }) => id === selected);
    chosen.hidden = !bar;
    if (bar) showSelected(bar);
    back.disabled = !past.length;
    forth.disabled = !future.length;
    reset.disabled = !Object.keys(host.read()).length;
    presets.disabled = !groups.length;
    others.hidden = !Object.keys(values.others).length;
    showOthers();
    showNotes();
    if (document.activeElement !== text) {
      const blocks = host.read();
      text.value = Object.keys(blocks).length ? JSON.stringify(blocks) : "";
    }
  }
  /** @param {Bar} bar */
  function showSelected(bar) {
    const [low, high] = values.effect(bar.id);
    const value = values.of(bar.id);
    const effect = low === high ? (low === value ? "" : t("in effect {weight}", { weight: formatWeight(low) }))
      : t("in effect {low} to {high}", { low: formatWeight(low), high: formatWeight(high) });
    about.textContent = [barName(bar), barLayers(bar, hand.isKnown()), effect].filter(Boolean).join(" · ");
    about.title = about.textContent;
    if (document.activeElement !== field) field.value = formatWeight(value);
  }
  let shownOthers = "";
  function showOthers() {
    const now = JSON.stringify(values.others);
    if (now === shownOthers) return;
    shownOthers = now;
    others.replaceChildren(create("span", { class: "lorchestra-quiet", text: t("Besides:") }), ...Object.entries(values.others).map(([pattern, factor]) => {
      const remove = create("button", {
        type: "button", "aria-label": t("Remove {pattern}", { pattern }), title: t("Remove {pattern}", { pattern }),
        onclick: () => put(Object.fromEntries(Object.entries(host.read()).filter(([one]) => one !== pattern))),
      }, icon(ICONS.remove, 11));
      return create("span", { class: "lorchestra-blocks-other" }, `${pattern} × ${factor}`, remove);
    }));
  }
  function showNotes() {
    const { error, lacking, is_model: isModel, note, title: model } = layout;
    const { touched, left } = values.count();
    const unknown = values.unknown();
    const untouched = hand.isKnown() ? values.untouched().filter((one) => !unknown.includes(one)) : [];
    const lines = error ? [note ? `${asSentence(note)}.` : "", `${asSentence(error)}. ${t("Write the patterns as text.")}`] : model === undefined ? [] : [
      isModel ? "" : t("The model is not known here; these are the blocks of {model}, for which the LoRA was made.", { model }),
      note ? `${asSentence(note)}.` : "",
      hand.isKnown() && left ? t("{left} of the {count} layers that the LoRA changes are at 0.", { count: touched, left }) : "",
      lacking ? t("{count} of its layers are not in this model.", { count: lacking }) : "",
      unknown.length ? t("No layer of this model is in: {patterns}", { patterns: unknown.join(", ") }) : "",
      untouched.length ? t("The LoRA changes nothing in: {patterns}", { patterns: untouched.join(", ") }) : "",
    ];
    notes.replaceChildren(...lines.filter(Boolean).map((line) => create("p", { text: line })), status);
  }
  async function load() {
    picture.replaceChildren(create("span", { class: "lorchestra-quiet", text: t("Reading the blocks of the model…") }));
    try {
      layout = await host.ask();
    } catch (error) {
      layout = { error: /** @type {Error} */ (error).message };
    }
    if (isGone) return;
    const known = typeof layout.lacking === "number" && (layout.blocks ?? []).some(({ kinds }) => kinds.some(({ on }) => on > 0));
    groups = groupsOf(layout.blocks ?? []);
    values = new BarValues(groups, layout.blocks ?? [], host.read());
    const shown = groups.map((group) => ({
      ...group, bars: group.role === "outside" && known ? group.bars.filter((bar) => bar.touched > 0 || values.of(bar.id) !== 1) : group.bars,
    })).filter(({ bars }) => bars.length);
    views = shown.map((group) => createGroup(group, hand));
    picture.replaceChildren(...views.map((view) => view.element));
    picture.hidden = !views.length;
    if (layout.title) title.textContent = t("Weights per block of {model}", { model: layout.title });
    const bars = shown.flatMap((group) => group.bars);
    selected = (bars.find(({ touched }) => touched > 0) ?? bars[0])?.id ?? "";
    draw();
    const focused = document.activeElement;
    if (focused !== text && (!focused || focused === document.body || focused.contains(element) || element.contains(focused))) {
      if (!views.some((view) => view.focus(selected))) text.focus({ preventScroll: true });
    }
  }
  say("");
  draw();
  void load();
  return {
    element,
    destroy() {
      isGone = true;
      finish();
    },
  };
}

/** @param {string} label @param {() => void} onclick @param {string} [picture] */
function button(label, onclick, picture) {
  return create("button", { type: "button", class: "lorchestra-button", onclick }, label, picture !== undefined && icon(picture, 10));
}

/** @param {string} picture @param {string} label @param {() => void} onclick */
function iconButton(picture, label, onclick) {
  return create("button", { type: "button", class: "lorchestra-button", title: label, "aria-label": label, onclick }, icon(picture, 12));
}
