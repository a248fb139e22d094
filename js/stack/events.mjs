// @ts-check
/** What the list hears: keys, pasted text, and what is typed into its text. */

import { hasLoras, hasPictures } from "../exchange/drop.mjs";
import { mayBeRows } from "../values/pasted.mjs";
import { focusBeside, focusedPart, focusFrom, focusRow } from "./focus.mjs";

/**
 * @typedef {import("./edits.mjs").Edits} Edits
 * @typedef {import("./view.mjs").ListView} ListView
 * @typedef {import("./actions.mjs").Actions} Actions
 */

/**
 * @param {ListView} view that has been built
 * @param {Edits} edits
 * @param {Actions} actions
 */
export function listenToList(view, edits, actions) {
  const { element } = view;
  element.addEventListener("keydown", (event) => onKey(event, view, edits, actions));
  element.addEventListener("keyup", (event) => { if (event.key === " ") event.stopPropagation(); });
  element.addEventListener("paste", (event) => {
    if (/** @type {HTMLElement} */ (event.target).matches("input, textarea")) return;
    const pasted = event.clipboardData?.getData("text/plain") ?? "";
    if (!mayBeRows(pasted)) return;
    event.preventDefault();
    event.stopPropagation();
    void actions.pasteText(pasted);
  });
  element.addEventListener("dragover", (event) => {
    if (!hasPictures(event) && !hasLoras(event)) return;
    event.preventDefault(); // only then may it be dropped here
    event.stopPropagation();
  });
  element.addEventListener("drop", (event) => {
    const isOurs = hasLoras(event);
    if (!isOurs && !hasPictures(event)) return;
    event.preventDefault();
    event.stopPropagation();
    if (isOurs) actions.dropLoras(event);
    else void actions.dropPictures(event);
  });
  element.addEventListener("focusout", (event) => {
    if (!element.contains(/** @type {Node | null} */ (event.relatedTarget))) edits.settle();
  });
}

/**
 * @param {KeyboardEvent} event
 * @param {ListView} view
 * @param {Edits} edits
 * @param {Actions} actions
 */
function onKey(event, view, edits, actions) {
  const { rows } = view;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.matches("input, textarea") || event.isComposing) return;
  const index = rows.findIndex((row) => row.element.contains(target));
  const { key, altKey, ctrlKey, metaKey, shiftKey } = event;
  const plain = !altKey && !ctrlKey && !metaKey && !shiftKey;
  const up = key === "ArrowUp" ? -1 : key === "ArrowDown" ? 1 : 0;
  const head = target.closest(".lorchestra-group");
  if (head && plain && up) focusFrom(view, head, up);
  else if (head && plain && (key === "ArrowLeft" || key === "ArrowRight")) focusBeside(/** @type {HTMLElement} */ (head), target, key === "ArrowRight" ? 1 : -1);
  else if (index < 0) {
    if (head || up !== 1 || !plain || !rows.length) return keepKey(event, target);
    focusRow(view, 0);
  } else if (altKey && up && !ctrlKey && !metaKey) actions.move(index, index + up);
  else if (plain && up) focusFrom(view, rows[index].element, up);
  else if (plain && (key === "ArrowLeft" || key === "ArrowRight")) focusBeside(rows[index].element, target, key === "ArrowRight" ? 1 : -1);
  else if (plain && (key === "Home" || key === "End")) focusRow(view, key === "Home" ? 0 : rows.length - 1, focusedPart());
  else if (plain && key === "Delete") actions.remove(index);
  else if (plain && key === " " && target.role === "spinbutton") edits.toggle(index);
  else if (plain && key.toLowerCase() === "t") actions.row.showWords(index);
  else if (plain && key.toLowerCase() === "b") actions.row.blocks(index);
  else if ((ctrlKey || metaKey) && !altKey && key.toLowerCase() === "d") actions.duplicate(index);
  else return keepKey(event, target);
  event.preventDefault();
  event.stopPropagation();
}

/**
 * Keys that a button uses, or that would do something to the node, stay here.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} target
 */
function keepKey(event, target) {
  const own = [" ", "Enter", "Delete", "Backspace"].includes(event.key) && !event.ctrlKey && !event.metaKey;
  if (own && target.closest("button, [role=spinbutton]")) event.stopPropagation();
}

/**
 * @param {HTMLTextAreaElement} text
 * @param {() => string} read the host's text
 * @param {Edits} edits
 */
export function listenToText(text, read, edits) {
  // The browser's own undo reaches a text without the focus, too, before ComfyUI's undo runs, and may focus it on the
  // way: that is not an edit.
  let typed = true;
  text.addEventListener("beforeinput", () => { typed = document.activeElement === text; });
  text.addEventListener("input", () => {
    if (typed && document.activeElement === text) edits.type(text.value);
    else text.value = read();
  });
  text.addEventListener("change", () => {
    // ComfyUI's undo may be what took the focus away; a step of ours would be the end of redo.
    setTimeout(() => { if (text.isConnected && text.value === read()) edits.settle(); }, 0);
  });
  for (const kind of ["keydown", "keyup", "copy", "cut", "paste"]) text.addEventListener(kind, (event) => {
    const key = /** @type {KeyboardEvent} */ (event);
    const command = (key.ctrlKey || key.metaKey) && key.key === "Enter"; // queues the prompt
    if (!command) event.stopPropagation();
  });
}
