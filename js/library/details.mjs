// @ts-check
/** What is written about the LoRAs that are selected in the library: one, or several at once. */

import { create } from "../base/dom.mjs";
import { ask } from "../base/server.mjs";
import { t } from "../base/words.mjs";
import { createPicture } from "../picker/cell.mjs";
import { writeSidecars } from "../picker/sidecars.mjs";
import { WEIGHT_LIMIT } from "../values/limits.mjs";
import { formatCount, splitName } from "../values/numbers.mjs";

/** @import { Comfy } from "../types.d.ts" */

const PAUSE = 200; // on a selection before the server is asked about it, in milliseconds

/**
 * @typedef {object} Details
 * @property {HTMLElement} element
 * @property {(names: string[], active: import("../values/search.mjs").Lora | null) => void} show
 * @property {() => void} close
 */

/**
 * @param {Comfy} comfy
 * @param {object} actions
 * @param {(names: string[]) => void} actions.add
 * @param {(name: string, anchor: HTMLElement) => void} actions.inform
 * @returns {Details}
 */
export function createLibraryDetails(comfy, { add, inform }) {
  /** @type {string[]} */
  let names = [];
  /** @type {Set<keyof typeof fields>} what was edited and not saved */
  const edited = new Set();
  let asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @param {keyof typeof fields} key */
  const edit = (key) => () => {
    edited.add(key);
    showButtons();
  };
  const fields = {
    trigger_words: create("textarea", { class: "lorchestra-field", rows: 3, oninput: () => edit("trigger_words")(), spellcheck: false }),
    notes: create("textarea", { class: "lorchestra-field", rows: 4, oninput: () => edit("notes")() }),
    weight: create("input", {
      class: "lorchestra-field", type: "number", step: "0.05", min: String(-WEIGHT_LIMIT), max: String(WEIGHT_LIMIT),
      oninput: () => edit("weight")(),
    }),
    favourite: create("input", { type: "checkbox", onchange: () => edit("favourite")() }),
  };
  const picture = createPicture(comfy);
  picture.follow(picture);
  const title = create("strong", { class: "lorchestra-library-title", dir: "auto" });
  const said = create("div", { class: "lorchestra-quiet", role: "status" });
  const addButton = create("button", {
    type: "button", class: "lorchestra-button", text: t("Add to the workflow"), onclick: () => add(names),
  });
  const infoButton = create("button", {
    type: "button", class: "lorchestra-button", text: t("Info…"), "aria-haspopup": "dialog", onclick: () => inform(names[0], infoButton),
  });
  const save = create("button", { type: "submit", class: "lorchestra-button", text: t("Save") });
  const discard = create("button", {
    type: "button", class: "lorchestra-button", text: t("Discard"),
    onclick() {
      edited.clear();
      load();
    },
  });
  /** @param {string} label @param {HTMLElement} field @param {string} [hint] */
  const labelled = (label, field, hint = "") => create("label", { class: "lorchestra-library-field", title: hint },
    create("span", { text: label }), field);
  const form = create("form", {
    class: "lorchestra-library-form",
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      void store();
    },
  },
  labelled(t("Trigger words"), fields.trigger_words, t("One on each line")),
  labelled(t("Recommended weight"), fields.weight),
  labelled(t("Notes"), fields.notes),
  create("label", { class: "lorchestra-library-check" }, fields.favourite, create("span", { text: t("Favourite") })),
  create("div", { class: "lorchestra-library-buttons" }, save, discard));
  const element = create("section", { class: "lorchestra-library-details", "aria-label": t("Selected LoRAs") },
    title, picture, create("div", { class: "lorchestra-library-buttons" }, addButton, infoButton), form, said);

  const showButtons = () => {
    save.disabled = discard.disabled = !edited.size;
  };
  const clear = () => {
    for (const field of [fields.trigger_words, fields.notes, fields.weight]) {
      field.value = "";
      field.placeholder = names.length > 1 ? t("Unchanged") : "";
    }
    fields.favourite.checked = false;
    fields.favourite.indeterminate = names.length > 1;
  };

  const load = () => {
    title.textContent = names.length === 1 ? splitName(names[0]).title : t("{count} LoRAs", { count: formatCount(names.length) });
    title.title = names.length === 1 ? names[0] : "";
    infoButton.hidden = names.length !== 1;
    said.textContent = "";
    clear();
    showButtons();
    clearTimeout(timer);
    const turn = asked += 1;
    if (names.length === 1) timer = setTimeout(() => void read(turn), PAUSE);
  };

  /** @param {number} turn */
  const read = async (turn) => {
    try {
      const info = /** @type {import("../info/details.mjs").Info & {favourite?: boolean | null}} */ (
        await ask(comfy, `/lorchestra/info?${new URLSearchParams({ lora: names[0] })}`));
      if (turn !== asked || edited.size) return;
      fields.trigger_words.value = info.triggers.join("\n");
      fields.notes.value = info.notes.find(({ kind }) => kind === "notes")?.text ?? "";
      fields.weight.value = info.weight === null ? "" : String(info.weight);
      fields.favourite.checked = info.favourite === true;
    } catch (error) {
      if (turn === asked) said.textContent = /** @type {Error} */ (error).message;
    }
  };

  const store = async () => {
    const { trigger_words: words, notes, weight, favourite } = fields;
    const all = {
      trigger_words: () => words.value.split("\n").map((word) => word.trim()).filter(Boolean),
      notes: () => notes.value,
      weight: () => (weight.value.trim() === "" ? null : weight.valueAsNumber),
      favourite: () => favourite.checked,
    };
    const changes = Object.fromEntries([...edited].map((key) => [key, all[key]()]));
    save.disabled = true;
    const written = await writeSidecars(comfy, names, changes);
    if (written.length === names.length) edited.clear();
    showButtons();
    said.textContent = written.length > 1
      ? t("Saved in {count} files beside the LoRAs", { count: formatCount(written.length) })
      : written.length ? t("Saved in {file}", { file: written[0] }) : "";
  };

  element.hidden = true;
  return {
    element,
    show(next, active) {
      if (next.join("\n") === names.join("\n")) return;
      if (edited.size) {
        said.textContent = t("Save or discard these changes first");
        return;
      }
      names = next;
      const isShown = names.length === 1 && active !== null && active.images + active.videos > 0;
      picture.hidden = !isShown;
      picture.show(isShown ? active : null);
      element.hidden = !names.length;
      if (names.length) load();
    },
    close() {
      clearTimeout(timer);
      asked += 1;
    },
  };
}
