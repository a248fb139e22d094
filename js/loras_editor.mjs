// @ts-check
/** The element of the LoRA Stack: a picker, the text, and a line that says what the text holds. No ComfyUI. */

import { inWords, summarise, withRow } from "./stack_text.mjs";

export const EDITOR_CLASS = "lorchestra-loras";
const PICKER_HEIGHT = 26;
const TEXT_HEIGHT = 96;
const STATUS_HEIGHT = 18;
const GAP = 4;
/** Least height of the element, in pixels. */
export const EDITOR_HEIGHT = PICKER_HEIGHT + TEXT_HEIGHT + STATUS_HEIGHT + 2 * GAP;

const TEXT_COLOR = "var(--component-node-foreground, var(--input-text, #ddd))";
const FIELD_STYLE = `box-sizing:border-box;border:1px solid var(--border-color,#4e4e4e);border-radius:6px;
  background:var(--component-node-widget-background,var(--comfy-input-bg,#222));color:${TEXT_COLOR};
  font-size:12px;min-width:0;`;
const QUIET_COLOR = "var(--muted-foreground, var(--descrip-text, #999))";
const ERROR_COLOR = "var(--error-text, #ff4444)";

/**
 * @typedef {object} Host
 * @property {() => string} read the value
 * @property {(text: string) => void} type takes text while somebody types it
 * @property {(text?: string) => void} commit takes finished text as one step that can be undone; without an argument,
 *   what was typed is finished
 * @property {() => Promise<string[]>} fetchLoras names of the LoRA files
 */

/**
 * @param {Host} host
 * @returns {{element: HTMLElement, text: HTMLTextAreaElement, render: () => void}} `render` shows the host's value
 */
export function createEditor(host) {
  const names = document.createElement("datalist");
  names.id = `lorchestra-names-${Math.random().toString(36).slice(2)}`;
  const picker = create("input", `${FIELD_STYLE}flex:1;height:${PICKER_HEIGHT}px;padding:0 8px`, {
    type: "text",
    placeholder: "Find a LoRA…",
    autocomplete: "off",
    spellcheck: false,
  });
  picker.setAttribute("list", names.id);
  picker.setAttribute("aria-label", "Find a LoRA");
  const add = create("button", `${FIELD_STYLE}height:${PICKER_HEIGHT}px;padding:0 12px;cursor:pointer`, {
    type: "button",
    textContent: "Add",
    title: "Add the LoRA as a new row",
  });
  const text = create("textarea", `${FIELD_STYLE}flex:1;min-height:${TEXT_HEIGHT}px;padding:6px 8px;resize:none;
    font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;line-height:1.4;white-space:pre-wrap;overflow-wrap:anywhere;overflow:auto`, {
    spellcheck: false,
    autocomplete: "off",
    placeholder: "Find a LoRA above, or paste JSON or <lora:name:0.7> text",
  });
  text.setAttribute("aria-label", "LoRAs and their weights");
  text.dataset.captureWheel = "true";
  const status = create("div", `height:${STATUS_HEIGHT}px;line-height:${STATUS_HEIGHT}px;font-size:11px;
    overflow:hidden;text-overflow:ellipsis;white-space:nowrap`, { className: "lorchestra-status" });
  status.setAttribute("role", "status");

  const line = create("div", `display:flex;gap:${GAP}px`, {});
  line.append(picker, add, names);
  const element = create("div", `display:flex;flex-direction:column;gap:${GAP}px;min-height:${EDITOR_HEIGHT}px;
    box-sizing:border-box`, { className: EDITOR_CLASS });
  element.append(line, text, status);

  let listed = /** @type {string[]} */ ([]);
  let asking = /** @type {Promise<void> | undefined} */ (undefined);

  const say = (/** @type {string} */ words, /** @type {boolean} */ wrong) => {
    status.textContent = words;
    status.title = words;
    status.style.color = wrong ? ERROR_COLOR : QUIET_COLOR;
  };
  const showSummary = () => {
    const summary = summarise(host.read());
    say(inWords(summary), summary.error !== "");
    text.setAttribute("aria-invalid", String(summary.error !== ""));
  };
  const render = () => {
    const value = host.read();
    if (text.value !== value) text.value = value;
    showSummary();
  };
  const listNames = async () => {
    const fresh = await host.fetchLoras();
    if (fresh.length === listed.length && fresh.every((name, index) => name === listed[index])) return;
    listed = fresh;
    names.replaceChildren(...fresh.map((name) => Object.assign(document.createElement("option"), { value: name })));
  };
  const fetchNames = () => {
    asking ??= listNames()
      .catch((error) => say(`The list of LoRAs could not be read: ${error.message}`, true))
      .finally(() => { asking = undefined; });
    return asking;
  };
  const addPicked = async () => {
    const typed = picker.value.trim();
    if (!typed) {
      say("Find a LoRA first.", true);
      picker.focus();
      return;
    }
    if (!listed.includes(typed)) {
      add.disabled = true;
      await fetchNames();
      add.disabled = false;
    }
    const match = matchName(typed, listed);
    if ("error" in match) {
      say(match.error, true);
      return;
    }
    const result = withRow(host.read(), match.name);
    if ("error" in result) {
      say(result.error, true);
      return;
    }
    picker.value = "";
    host.commit(result.text);
    render();
    text.scrollTop = text.scrollHeight;
  };

  picker.addEventListener("focus", () => void fetchNames());
  picker.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey || event.isComposing) return;
    event.preventDefault();
    void addPicked();
  });
  add.addEventListener("click", () => void addPicked());
  text.addEventListener("input", () => {
    host.type(text.value);
    showSummary();
  });
  text.addEventListener("change", () => {
    // Ctrl+Z on the canvas also undoes the last typing in the browser, and the change comes out when ComfyUI's undo
    // takes this element away. A step at that moment would be the end of redo.
    setTimeout(() => { if (text.isConnected) host.commit(); }, 0);
  });
  render();
  return { element, text, render };
}

/**
 * The listed name that somebody means: the very name, or the only one that has the typed letters in it.
 * @param {string} typed
 * @param {string[]} listed
 * @returns {{name: string} | {error: string}}
 */
export function matchName(typed, listed) {
  if (listed.includes(typed)) return { name: typed };
  const wanted = typed.toLowerCase();
  const found = listed.filter((name) => name.toLowerCase().includes(wanted));
  if (found.length === 1) return { name: found[0] };
  return { error: found.length ? `${found.length} LoRAs match ${typed}. Choose one.` : `There is no LoRA ${typed}.` };
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} style
 * @param {Partial<HTMLElementTagNameMap[K]>} properties
 * @returns {HTMLElementTagNameMap[K]}
 */
function create(tag, style, properties) {
  const element = document.createElement(tag);
  element.style.cssText = style;
  return Object.assign(element, properties);
}
