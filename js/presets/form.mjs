// @ts-check
/** The form that saves a preset: its name, note and picture, and which rows are in it. */

import { create, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { formatWeight, splitName } from "../values/numbers.mjs";
import { folded, MAX_NOTE, MAX_PRESET_NAME, problemOfName } from "../values/preset.mjs";
import { modelWeight } from "../values/stack.mjs";
import { lastPicture, thumbnail } from "./picture.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @import { Preset } from "../values/preset.mjs" */

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {Preset} options.preset as it is now
 * @param {string[]} options.others names that there are
 * @param {boolean} options.isNew whether it has no file yet
 * @param {(preset: Preset, overwrite: boolean) => Promise<void>} options.save throws with what went wrong
 * @param {() => void} options.cancel
 */
export function createForm(comfy, { preset, others, isNew, save, cancel }) {
  let { picture } = preset;
  let asked = ""; // the name that was asked about
  const name = create("input", { class: "lorchestra-field", type: "text", value: preset.name, maxLength: 2 * MAX_PRESET_NAME, autocomplete: "off", autofocus: true });
  const note = create("textarea", { class: "lorchestra-field", value: preset.note, maxLength: MAX_NOTE, rows: 2 });
  const said = create("p", { role: "alert", class: "lorchestra-bad", hidden: true });
  const shown = create("img", { class: "lorchestra-preset-picture", alt: t("Picture of the preset") });
  const file = create("input", { type: "file", accept: "image/png,image/jpeg,image/webp", hidden: true, onchange: async () => {
    const [chosen] = file.files ?? [];
    if (chosen) await take(chosen);
  } });
  const without = create("button", { type: "button", class: "lorchestra-button", text: t("Without a picture"), onclick: () => { picture = ""; showPicture(); } });
  const last = lastPicture(comfy);
  const boxes = preset.stack.rows.map((row) => ({ row, box: create("input", { type: "checkbox", checked: true }) }));
  const button = create("button", { type: "submit", class: "lorchestra-button", text: t("Save") });

  const showPicture = () => {
    shown.hidden = without.hidden = !picture;
    if (picture) shown.src = picture;
  };
  /** @param {string | File} of */
  const take = async (of) => {
    const made = await thumbnail(of);
    if (!made) say(t("This picture cannot be read."));
    else picture = made;
    showPicture();
  };
  /** @param {string} words */
  const say = (words) => {
    said.textContent = words;
    said.hidden = !words;
    setAttribute(name, "aria-invalid", words !== "");
  };
  const submit = async () => {
    const wanted = name.value.trim();
    const taken = isNew ? others : others.filter((other) => other !== preset.name);
    const rows = boxes.filter(({ box }) => box.checked).map(({ row }) => row);
    const problem = problemOfName(wanted);
    if (problem) return say(problem);
    if (!rows.length) return say(t("Choose at least one row."));
    const clash = taken.find((other) => folded(other) === folded(wanted));
    if (clash !== undefined && asked !== clash) {
      asked = clash;
      button.textContent = t("Replace it");
      return say(t("There is a preset {name}.", { name: clash }));
    }
    button.disabled = true;
    try {
      await save({ ...preset, name: clash ?? wanted, note: note.value.trim(), picture, stack: { ...preset.stack, rows } }, clash !== undefined);
    } catch (error) {
      say(/** @type {Error} */ (error).message);
    }
    button.disabled = false;
  };
  name.addEventListener("input", () => {
    asked = "";
    button.textContent = t("Save");
    say("");
  });
  showPicture();
  if (isNew && !picture && last) void thumbnail(last).then((made) => { picture ||= made; showPicture(); });

  return create("form", {
    class: "lorchestra-preset-form", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      void submit();
    },
  },
  create("label", {}, t("Name"), name),
  create("label", {}, t("Note"), note),
  create("div", { class: "lorchestra-preset-picked" }, shown,
    create("button", { type: "button", class: "lorchestra-button", text: t("Choose a picture…"), onclick: () => file.click() }),
    last && create("button", { type: "button", class: "lorchestra-button", text: t("Last picture"), onclick: () => void take(last) }), without, file),
  create("fieldset", { class: "lorchestra-preset-rows" }, create("legend", { text: t("Rows") }),
    ...boxes.map(({ row, box }) => create("label", { class: "lorchestra-preset-row" }, box,
      create("span", { dir: "auto", text: `${splitName(row.lora).title || row.lora} ${formatWeight(modelWeight(row))}` })))),
  said,
  create("div", { class: "lorchestra-preset-end" },
    create("button", { type: "button", class: "lorchestra-button", text: t("Cancel"), onclick: cancel }), button));
}
