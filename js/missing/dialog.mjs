// @ts-check
/** One dialog for a whole workflow: its missing LoRAs, where to get each, and the files on this machine that it may be. */

import { create, icon, ROOT_CLASS, setAttribute, useStyle } from "../base/dom.mjs";
import { asSentence, t } from "../base/words.mjs";
import { certainOf } from "../values/identity.mjs";
import { formatCount, splitName } from "../values/numbers.mjs";
import { isOn } from "../values/stack.mjs";
import { ICONS } from "../stack/style.mjs";
import { hashOf, searchByHash } from "./search.mjs";
import { useFiles } from "./stacks.mjs";
import { STYLE } from "./style.mjs";
import { survey } from "./survey.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @import { Candidate } from "../values/verdicts.mjs" */
/** @import { Found } from "./survey.mjs" */

/** What stays in the dialog: ComfyUI has keys and gestures of its own. */
const KEPT_INSIDE = ["keydown", "keyup", "keypress", "wheel", "pointerdown", "mousedown", "dblclick", "contextmenu", "copy",
  "cut", "paste", "dragover", "drop"];

/** @type {HTMLDialogElement | undefined} the open one */
let open;

/**
 * @param {Comfy} comfy
 * @param {object} [options]
 * @param {Found[]} [options.found] what is known already
 * @param {(left: Found[]) => void} [options.onClose] gets what is still to be looked at
 */
export function openMissing(comfy, { found: known = [], onClose } = {}) {
  if (open) return;
  useStyle("missing", STYLE);
  let found = known;
  let loading = true;
  let problem = "";
  /** @type {AbortController | undefined} of the search that runs */
  let search;
  /** Rows that a search has looked for without a result. @type {Set<string>} */
  const searched = new Set();

  const status = create("div", { role: "status", "aria-live": "polite" });
  const list = create("ul", { class: "lorchestra-missing-rows", "aria-label": t("LoRAs to check") });
  const useAll = create("button", { type: "button", class: "lorchestra-button", onclick: () => take(certain()) });
  const searchAll = create("button", {
    type: "button", class: "lorchestra-button", text: t("Search all by hash"), title: t("Reads LoRA files until all of these are found"),
    onclick: () => void start(searchable()),
  });
  const says = create("span", { "aria-live": "polite" });
  const bar = create("progress", { "aria-label": t("Progress of the search") });
  const stop = create("button", { type: "button", class: "lorchestra-button", text: t("Stop"), onclick: () => search?.abort() });
  const progress = create("div", { class: "lorchestra-missing-progress", hidden: true }, says, bar, stop);
  const done = create("button", {
    type: "button", class: "lorchestra-button lorchestra-missing-last", text: t("Close"), onclick: () => dialog.close(),
  });
  const dialog = create("dialog", { class: `${ROOT_CLASS} lorchestra-missing`, "aria-labelledby": "lorchestra-missing-title" },
    create("div", { class: "lorchestra-missing-head" },
      create("div", {}, create("h2", { id: "lorchestra-missing-title", text: t("Missing LoRAs") }), status),
      create("button", {
        type: "button", class: "lorchestra-missing-close", "aria-label": t("Close"), title: t("Close"), onclick: () => dialog.close(),
      }, icon(ICONS.cross, 14))),
    list,
    create("div", { class: "lorchestra-missing-foot" }, progress, useAll, searchAll, done));

  const certain = () => found.flatMap((one) => {
    const file = certainOf(one.row, one.candidates);
    return file ? [{ one, file }] : [];
  });
  const searchable = () => found.filter(({ missing, row, candidates }) =>
    missing && hashOf(row) && !candidates.some(({ by }) => by === "content"));

  /** @param {{one: Found, file: Candidate}[]} choices */
  const take = (choices) => {
    search?.abort();
    useFiles(comfy.app, choices.map(({ one: { stack, index, row }, file }) => ({ stack, index, lora: row.lora, file })));
    found = found.filter((one) => !choices.some((choice) => choice.one === one));
    show();
    const next = /** @type {HTMLElement | null} */ (list.querySelector("button")) ?? done;
    next.focus();
    void refresh();
  };

  /** Asks the server again, and keeps what a search has found meanwhile. */
  const refresh = async () => {
    try {
      const before = found;
      found = await survey(comfy);
      for (const one of found) {
        const same = before.find((other) => keyOf(other) === keyOf(one));
        if (one.missing && same?.missing && same.candidates.some(({ by }) => by === "content")) one.candidates = same.candidates;
      }
      problem = "";
    } catch (error) {
      problem = /** @type {Error} */ (error).message;
    }
    loading = false;
    show();
  };

  /** @param {Found[]} rows */
  const start = async (rows) => {
    if (search || !rows.length) return;
    const mine = search = new AbortController();
    show();
    stop.focus(); // the button that started it is disabled now, and would leave the keys to ComfyUI
    try {
      await searchByHash(comfy, rows, {
        signal: mine.signal,
        onProgress: ({ row, number, done: read, total }) => {
          const { title: name } = splitName(row.row.lora);
          const files = total ? t("{done} of {total} files read", { done: formatCount(read), total: formatCount(total) }) : t("Reading files…");
          const text = rows.length > 1
            ? t("Searching for {name} ({number} of {count}): {files}", { name, number: number + 1, count: rows.length, files })
            : t("Searching for {name}: {files}", { name, files });
          if (says.textContent !== text) says.textContent = text;
          if (total) Object.assign(bar, { max: total, value: read });
          else bar.removeAttribute("value");
        },
        onFound: (row, candidates) => {
          const now = found.find((one) => keyOf(one) === keyOf(row)); // the server may have been asked meanwhile
          if (now) now.candidates = candidates;
          if (!candidates.some(({ by }) => by === "content")) searched.add(keyOf(row));
          show();
        },
      });
      problem = "";
    } catch (error) {
      problem = /** @type {Error} */ (error).message;
    }
    search = undefined;
    const hadFocus = document.activeElement === stop || !dialog.contains(document.activeElement);
    show();
    if (hadFocus) done.focus();
  };

  const show = () => {
    if (!dialog.isConnected) return;
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.key : undefined;
    setAttribute(list, "aria-busy", loading ? true : null);
    const words = problem ? asSentence(t("the server could not list the LoRAs: {problem}", { problem })) : summaryOf(found, loading);
    if (status.textContent !== words) status.textContent = words;
    status.className = problem ? "lorchestra-bad" : "lorchestra-quiet";
    list.replaceChildren(...found.map(rowOf));
    const sure = certain().length;
    useAll.hidden = sure < 2;
    useAll.textContent = t("Use all {count} sure matches", { count: sure });
    useAll.title = t("For each row that has exactly one file with the same content, AIR or name");
    searchAll.hidden = searchable().length < 2 || search !== undefined;
    progress.hidden = !search;
    if (focused) /** @type {HTMLElement | null} */ (list.querySelector(`[data-key="${CSS.escape(focused)}"]`))?.focus();
  };

  /** @param {Found} one */
  const rowOf = (one) => {
    const { row, badge, stack, index, missing } = one;
    const key = keyOf(one);
    const where = t("{node}, row {row}", { node: `${stack.node.title} #${stack.node.id}`, row: index + 1 });
    const notes = [where, !isOn(row) && t("off"), !stack.active && t("the node is muted or bypassed")].filter(Boolean).join(", ");
    const air = row.air || (badge.air ?? "");
    const facts = create("dl", {});
    const fact = (/** @type {string} */ label, /** @type {string | HTMLElement} */ value) => facts.append(
      create("dt", { class: "lorchestra-quiet", text: label }), create("dd", {}, value));
    if (missing && hashOf(row)) fact(t("Hash"), hashOf(row));
    if (missing && air && air !== row.lora) fact("AIR", air);
    if (missing && badge.made_for?.length) fact(t("Made for"), create("span", { text: badge.made_for.join(", ") }));
    if (missing && badge.page) fact(t("Page"), create("a", { href: badge.page, target: "_blank", rel: "noopener", referrerPolicy: "no-referrer", text: badge.page }));
    const files = one.candidates.map((file) => create("li", { class: "lorchestra-missing-file" },
      create("span", {}, create("span", { text: file.name, dir: "auto" }), create("span", { class: "lorchestra-quiet", text: ` ${whyInWords(file)}` })),
      create("button", {
        type: "button", class: "lorchestra-button", text: t("Use this"), "aria-label": t("Use this: {file} for {name}", { file: file.name, name: row.lora }),
        "data-key": `${key} ${file.name}`, onclick: () => take([{ one, file }]),
      })));
    return create("li", { class: "lorchestra-missing-row" },
      create("div", { class: "lorchestra-missing-title" },
        create("span", { class: "lorchestra-missing-name", text: row.lora, dir: "auto" }),
        create("span", { class: "lorchestra-missing-where lorchestra-quiet", text: notes })),
      missing && !files.length && create("p", { class: "lorchestra-quiet", text: searched.has(key)
        ? t("No file on this machine has this hash.") : t("No file on this machine is known by this name, hash or AIR.") }),
      facts.childElementCount > 0 && facts,
      files.length > 0 && create("ul", { class: "lorchestra-missing-files", "aria-label": t("Files that may be {name}", { name: row.lora }) }, ...files),
      searchable().includes(one) && !searched.has(key) && create("button", {
        type: "button", class: "lorchestra-button", text: t("Search by hash"), title: t("Reads LoRA files until it is found"),
        "aria-label": t("Search by hash for {name}", { name: row.lora }), disabled: search !== undefined, "data-key": `${key} search`,
        onclick: () => void start([one]),
      }));
  };

  /** Where the focus was lost, ComfyUI would take the keys: Escape would not close, Delete would delete nodes. @param {KeyboardEvent} event */
  const onKey = (event) => {
    const inside = dialog.contains(/** @type {Node} */ (event.target));
    if (!inside) event.stopPropagation();
    if (event.key !== "Escape" || event.isComposing) return;
    event.stopPropagation();
    event.preventDefault();
    dialog.close();
  };

  for (const kind of KEPT_INSIDE) dialog.addEventListener(kind, (event) => event.stopPropagation());
  window.addEventListener("keydown", onKey, true);
  dialog.addEventListener("close", () => {
    window.removeEventListener("keydown", onKey, true);
    search?.abort();
    dialog.remove();
    open = undefined;
    onClose?.(found);
  });
  document.body.append(dialog);
  open = dialog;
  show();
  dialog.showModal();
  done.focus();
  void refresh();
}

/** @param {Found} one what tells it from other rows, as long as they stay where they are */
function keyOf({ stack, index, row }) {
  return `${stack.node.graph?.id ?? ""}:${stack.node.id}:${stack.widget.name}:${index}:${row.lora}`;
}

/** @param {Found[]} found @param {boolean} loading */
function summaryOf(found, loading) {
  const missing = found.filter((one) => one.missing).length;
  const other = found.length - missing;
  if (!found.length) return loading ? t("Looking for the files…") : t("All LoRAs of this workflow are on this machine.");
  const words = [];
  if (missing) words.push(missing === 1 ? t("1 LoRA is not on this machine.") : t("{count} LoRAs are not on this machine.", { count: missing }));
  if (other) words.push(other === 1 ? t("1 is used under another name.") : t("{count} are used under other names.", { count: other }));
  return words.join(" ");
}

/** @param {Candidate} file why it may be the one */
function whyInWords({ by, why }) {
  const known = {
    content: t("the same content, by its hash"), said: t("the same content, by the hash in its sidecar"),
    tensors: t("the same tensors, by their hash"), air: t("the same AIR"), name: t("the same file name"),
    changed: t("the file as it is now"), used: t("is used already"),
  };
  return known[/** @type {keyof typeof known} */ (by)] ?? why;
}
