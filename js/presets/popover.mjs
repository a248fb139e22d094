// @ts-check
/** The presets: a list to take rows from, and to save them to; files of other programs can be dropped or pasted on it. */

import { create, icon, setAttribute, useStyle } from "../base/dom.mjs";
import { openMenu, openPopup } from "../base/popup.mjs";
import { asSentence, t } from "../base/words.mjs";
import { copyAs, readPasted } from "../exchange/clipboard.mjs";
import { identitiesOf } from "../saving/identities.mjs";
import { learnRows } from "../saving/learn.mjs";
import { ICONS } from "../stack/style.mjs";
import { splitName } from "../values/numbers.mjs";
import { findParameters } from "../values/pictures.mjs";
import { found, readPreset, rowsText } from "../values/preset.mjs";
import { EMPTY, readStack, writeStack } from "../values/stack.mjs";
import { createForm } from "./form.mjs";
import { checkFit } from "./fit.mjs";
import { thumbnail } from "./picture.mjs";
import { deletePreset, loadPresets, renamePreset, savePreset } from "./store.mjs";
import { STYLE } from "./style.mjs";

/** @import { Comfy, GraphNode } from "../types.d.ts" */
/** @import { Preset, Rows } from "../values/preset.mjs" */

const LARGEST = 50_000_000; // bytes of a dropped file

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {HTMLElement} options.anchor
 * @param {Rows} options.stack that can be saved
 * @param {GraphNode} options.node whose model presets are checked against
 * @param {(rows: Rows, where: "end" | "start" | "all") => void} options.take puts rows into the list
 */
export function openPresets(comfy, { anchor, stack, node, take }) {
  useStyle("presets", STYLE);
  /** @type {Preset[]} */
  let presets = [];
  /** What the check says of a preset, by its name. @type {Map<string, {words: string, colour: string}>} */
  let fits = new Map();
  let isLoaded = false;
  const search = create("input", {
    class: "lorchestra-field", type: "search", placeholder: t("Find a preset"), "aria-label": t("Find a preset"), autofocus: true, oninput: () => show(),
  });
  const add = create("button", {
    type: "button", class: "lorchestra-button", text: t("Save rows…"), disabled: !stack.rows.length, onclick: () => edit({ ...readPreset("", EMPTY), stack }, true),
  });
  const list = create("ul", { class: "lorchestra-presets-list", "aria-label": t("Presets"), "data-capture-wheel": "true" });
  const says = create("span", { role: "status", class: "lorchestra-quiet" });
  const undo = create("button", { type: "button", class: "lorchestra-button", text: t("Undo"), hidden: true });
  const status = create("div", { class: "lorchestra-presets-status" }, says, undo);
  const hint = create("p", { class: "lorchestra-quiet", text: t("Drop or paste a preset, a LoRA-Manager recipe, or a workflow with rgthree's Power Lora Loader here.") });
  const main = [create("div", { class: "lorchestra-presets-head" }, search, add), list, status, hint];
  const panel = create("div", { class: "lorchestra-presets" }, ...main);
  const popup = openPopup({ anchor, element: panel, label: t("Presets") });

  /** @param {string} words @param {boolean} [isWrong] @param {() => void} [back] what undoes it */
  const say = (words, isWrong = false, back) => {
    says.textContent = words;
    says.className = isWrong ? "lorchestra-bad" : "lorchestra-quiet";
    undo.hidden = !back;
    status.classList.toggle("lorchestra-presets-quiet", !words);
    undo.onclick = back ?? null;
    popup.place();
  };
  /** @param {() => Promise<void>} change what goes wrong is said */
  const attempt = async (change) => {
    try {
      await change();
    } catch (error) {
      say(asSentence(/** @type {Error} */ (error).message), true);
    }
  };
  const load = () => attempt(async () => {
    presets = await loadPresets(comfy);
    isLoaded = true;
    show();
    fits = await checkFit(comfy, node, presets).catch(() => new Map());
    if (fits.size) show();
  });
  const back = () => {
    panel.replaceChildren(...main);
    show();
    search.focus({ preventScroll: true });
  };
  /** @param {Preset} preset @param {boolean} isNew */
  const edit = (preset, isNew) => {
    panel.replaceChildren(createForm(comfy, {
      preset, isNew, others: presets.map(({ name }) => name), cancel: back,
      save: async (made, overwrite) => {
        const isMoved = !isNew && made.name !== preset.name && !overwrite;
        if (isMoved) await renamePreset(comfy, preset.name, made.name);
        await savePreset(comfy, { ...made, stack: await completed(made.stack) }, overwrite || !isNew);
        if (!isNew && !isMoved && made.name !== preset.name) await deletePreset(comfy, preset.name);
        back();
        say(t("Saved: {name}", { name: made.name }));
        await load();
      },
    }));
    popup.place();
    panel.querySelector("input")?.focus({ preventScroll: true });
  };
  /** The rows with hashes and AIRs, by which they find their files under other names. @param {Rows} rows @returns {Promise<Rows>} */
  const completed = async ({ rows, more }) => {
    const text = writeStack({ ...readStack(EMPTY), more }, rows);
    await learnRows(comfy, text);
    return readStack(identitiesOf(comfy.app).completed(text));
  };
  /** @param {Preset} preset */
  const remove = (preset) => attempt(async () => {
    await deletePreset(comfy, preset.name);
    await load();
    search.focus({ preventScroll: true });
    say(t("Deleted: {name}", { name: preset.name }), false, preset.problem ? undefined : () => void attempt(async () => {
      await savePreset(comfy, preset, false);
      say("");
      await load();
    }));
  });
  /** @param {Preset} preset @param {"end" | "start" | "all"} where */
  const use = (preset, where) => {
    popup.close();
    take(preset.stack, where);
  };
  /** @param {string} text @param {string} [name] of its file */
  const bring = async (text, name = "") => {
    const own = readPreset(name, text);
    if (!own.problem && own.stack.rows.length) return edit(own, true);
    const read = await readPasted(comfy, rowsText(text), { isRows: true });
    if (read) edit({ ...readPreset(name, EMPTY), stack: read }, true);
  };
  /** @param {File} file */
  const bringFile = async (file) => {
    const name = file.name.replace(/(?:\.recipe)?\.[^.]*$/i, "");
    if (file.size > LARGEST) return say(t("The file is too large."), true);
    if (!file.type.startsWith("image/")) return bring(await file.text(), name);
    const told = await findParameters(new Uint8Array(await file.arrayBuffer())).catch(() => null);
    if (told?.kind !== "parameters") return say(t("There are no LoRAs in the picture"), true);
    const read = await readPasted(comfy, told.text, { isRows: true });
    if (read) edit({ ...readPreset(name, EMPTY), stack: read, picture: await thumbnail(file) }, true);
  };

  /** @param {Preset} preset */
  const createItem = (preset) => {
    const { name, note, picture, problem, stack: { rows } } = preset;
    const fit = fits.get(name);
    const count = rows.length === 1 ? t("1 LoRA") : t("{count} LoRAs", { count: rows.length });
    const loras = rows.map(({ lora }) => splitName(lora).title || lora).join(", ");
    const more = create("button", { type: "button", class: "lorchestra-more", "aria-haspopup": "menu", "aria-label": t("More for {name}", { name }), title: t("More"), onclick: () => openMenu({
      anchor: more, label: name, items: [
        problem ? null : { label: t("Insert at the start"), run: () => use(preset, "start") },
        problem ? null : { label: t("Edit…"), run: () => edit(preset, false) },
        problem || !stack.rows.length ? null : { label: t("Replace with the rows of this list…"), run: () => edit({ ...preset, stack }, false) },
        problem ? null : { label: t("Copy"), run: () => void copyAs(comfy, rows, "json", undefined, preset.stack.more) },
        "-",
        { label: t("Delete the preset"), danger: true, run: () => void remove(preset) },
      ],
    }) }, icon(ICONS.more));
    return create("li", { class: "lorchestra-preset", "aria-label": name },
      picture ? create("img", { class: "lorchestra-preset-picture", src: picture, alt: "" }) : create("span", { class: "lorchestra-preset-picture", "aria-hidden": "true", text: [...name][0] ?? "" }),
      create("div", { class: "lorchestra-preset-words" },
        create("span", { class: "lorchestra-preset-name", dir: "auto", text: name, title: name }),
        problem ? create("span", { class: "lorchestra-preset-line lorchestra-bad", text: problem })
          : create("span", { class: "lorchestra-preset-line lorchestra-quiet", dir: "auto", title: loras, text: `${count}: ${loras}` }),
        note && create("span", { class: "lorchestra-preset-line lorchestra-quiet", dir: "auto", text: note, title: note }),
        fit && create("span", { class: `lorchestra-preset-line lorchestra-${fit.colour}`, text: fit.words })),
      create("div", { class: "lorchestra-preset-buttons" },
        !problem && create("button", { type: "button", class: "lorchestra-button", text: t("Append"), "aria-label": t("Append {name}", { name }), onclick: () => use(preset, "end") }),
        !problem && create("button", { type: "button", class: "lorchestra-button", text: t("Replace"), "aria-label": t("Replace all rows with {name}", { name }), onclick: () => use(preset, "all") }),
        more));
  };
  const show = () => {
    const all = found(presets, search.value);
    list.replaceChildren(...all.map(createItem));
    list.hidden = !all.length;
    if (isLoaded && !all.length) say(presets.length ? t("No preset has this name") : t("No presets yet"));
    else if (undo.hidden) say("");
    setAttribute(list, "aria-busy", !isLoaded);
    popup.place();
  };

  panel.addEventListener("paste", (event) => {
    if (/** @type {HTMLElement} */ (event.target).matches("input, textarea") && !/^\s*[[{]/.test(event.clipboardData?.getData("text/plain") ?? "")) return;
    const [file] = event.clipboardData?.files ?? [];
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!file && !text.trim()) return;
    event.preventDefault();
    void attempt(async () => { await (file ? bringFile(file) : bring(text)); });
  });
  panel.addEventListener("dragover", (event) => event.preventDefault());
  panel.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer?.files ?? [];
    event.preventDefault();
    event.stopPropagation();
    if (file) void attempt(async () => { await bringFile(file); });
  });
  show();
  void load();
}
