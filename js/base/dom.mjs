// @ts-check
/** Elements, the one style sheet of our face, and numbers as people write them. No ComfyUI. */

/**
 * Every outermost element of ours has this class: it carries the colours, which follow ComfyUI's palette. In every
 * palette of ComfyUI's own, words in `text`, `quiet`, `good`, `warn` and `bad` have a contrast of at least 4.5 with
 * `field`, `surface` and `hover`; `accent`, which is for pictures and edges, has one of at least 3.
 */
export const ROOT_CLASS = "lorchestra";
const STYLE_ID = "lorchestra-style";
const BASE_STYLE = `
.lorchestra {
  --lorchestra-text: var(--component-node-foreground, var(--input-text, #ddd));
  --lorchestra-field: var(--component-node-widget-background, var(--comfy-input-bg, #222));
  --lorchestra-surface: var(--comfy-menu-bg, #1e1e1e);
  --lorchestra-line: color-mix(in srgb, var(--lorchestra-text) 22%, var(--lorchestra-field));
  --lorchestra-hover: color-mix(in srgb, var(--lorchestra-text) 9%, var(--lorchestra-field));
  --lorchestra-quiet: color-mix(in srgb, var(--lorchestra-text) 72%, var(--lorchestra-field));
  --lorchestra-accent: color-mix(in srgb, #3b82f6 72%, var(--lorchestra-text));
  --lorchestra-good: color-mix(in srgb, #16a34a 60%, var(--lorchestra-text));
  --lorchestra-warn: color-mix(in srgb, #d97706 60%, var(--lorchestra-text));
  --lorchestra-bad: color-mix(in srgb, #ef4444 60%, var(--lorchestra-text));
  --lorchestra-mono: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  color: var(--lorchestra-text);
  font: 12px/1.35 Inter, system-ui, "DejaVu Sans", Arial, sans-serif;
  box-sizing: border-box;
}
/* White on a dark field, black on a light one; and colours that are as far from the field as they have to be. */
@supports (color: oklch(from red calc(l + 0.1) 0 0)) {
  .lorchestra {
    --lorchestra-far: oklch(from var(--lorchestra-field) clamp(0, (0.6 - l) * 1000, 1) 0 0);
    --lorchestra-theirs: var(--component-node-foreground, var(--input-text, #ddd));
    --lorchestra-text: color-mix(in srgb, var(--lorchestra-theirs) 80%, var(--lorchestra-far));
    --lorchestra-quiet: color-mix(
      in srgb, color-mix(in srgb, var(--lorchestra-theirs) 60%, var(--lorchestra-far)) 78%, var(--lorchestra-field)
    );
    --lorchestra-accent: oklch(from var(--lorchestra-field) calc(l + clamp(-0.38, (0.6 - l) * 1000, 0.38)) 0.16 258);
    --lorchestra-good: oklch(from var(--lorchestra-field) calc(l + clamp(-0.49, (0.6 - l) * 1000, 0.5)) 0.15 150);
    --lorchestra-warn: oklch(from var(--lorchestra-field) calc(l + clamp(-0.49, (0.6 - l) * 1000, 0.5)) 0.13 70);
    --lorchestra-bad: oklch(from var(--lorchestra-field) calc(l + clamp(-0.49, (0.6 - l) * 1000, 0.5)) 0.15 25);
  }
}
.lorchestra *, .lorchestra *::before, .lorchestra *::after { box-sizing: border-box; }
.lorchestra [hidden] { display: none !important; }
.lorchestra :where(button, input, textarea, select) {
  font: inherit; color: inherit; margin: 0; min-width: 0; letter-spacing: normal;
}
.lorchestra :focus-visible { outline: 2px solid var(--lorchestra-accent); outline-offset: -1px; }
.lorchestra-field {
  background: var(--lorchestra-field); border: 1px solid var(--lorchestra-line); border-radius: 6px; padding: 3px 8px;
}
.lorchestra-button {
  background: var(--lorchestra-field); border: 1px solid var(--lorchestra-line); border-radius: 6px; padding: 3px 10px;
  cursor: pointer;
}
.lorchestra-button:hover:not(:disabled) { background: var(--lorchestra-hover); }
.lorchestra-button:disabled { opacity: 0.5; cursor: default; }
.lorchestra-quiet { color: var(--lorchestra-quiet); }
.lorchestra-good { color: var(--lorchestra-good); }
.lorchestra-warn { color: var(--lorchestra-warn); }
.lorchestra-bad { color: var(--lorchestra-bad); }
.lorchestra-hidden {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
`;

/**
 * Adds our style sheet to the page, and once for each name a part of it. Call it when an element is made.
 * @param {string} [part] who asks, e.g. `picker`; its rules name only classes that start with `lorchestra-`
 * @param {string} [rules] CSS of that part
 */
export function useStyle(part, rules) {
  let style = document.getElementById(STYLE_ID);
  if (!style) {
    style = document.createElement("style");
    style.id = STYLE_ID;
    style.textContent = BASE_STYLE;
    document.head.append(style);
  }
  if (!part || !rules || style.dataset[part] !== undefined) return;
  style.dataset[part] = "";
  style.append(rules);
}

/** @typedef {Record<string, unknown>} Properties of an element, as `create` takes them */

/**
 * An element. `class`, `text` and `style` (CSS text) mean what they say; functions are listeners (`onclick`); names with
 * a dash and `role` are attributes, which false, null and undefined leave out; the rest are the element's properties.
 * Text is always text: nothing here reads HTML.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Properties} [properties]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function create(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = String(value);
    else if (name === "text") element.textContent = /** @type {string | null} */ (value);
    else if (name === "style") element.style.cssText = String(value);
    else if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), /** @type {EventListener} */ (value));
    else if (name.includes("-") || name === "role") setAttribute(element, name, value);
    else if (value !== undefined) Object.assign(element, { [name]: value });
  }
  for (const child of children) if (child || child === "") element.append(child);
  return element;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {unknown} value false, null and undefined take the attribute away, except that `aria-…` attributes say `false`
 */
export function setAttribute(element, name, value) {
  const said = value === false && name.startsWith("aria-");
  if (value == null || (value === false && !said)) element.removeAttribute(name);
  else element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
}

const SVG = "http://www.w3.org/2000/svg";
/** @type {Map<string, SVGSVGElement>} copies are quicker than new ones */
const pictures = new Map();

/**
 * A picture of lines in a box of 16 × 16 that has the text's colour.
 * @param {string} path an SVG path, e.g. `M3 8h10`
 * @param {number} [size] in pixels
 * @returns {SVGSVGElement}
 */
export function icon(path, size = 14) {
  const key = `${size} ${path}`;
  const known = pictures.get(key) ?? draw(path, size);
  pictures.set(key, known);
  return /** @type {SVGSVGElement} */ (known.cloneNode(true));
}

/**
 * @param {string} path
 * @param {number} size
 * @returns {SVGSVGElement}
 */
function draw(path, size) {
  const svg = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "path");
  const attributes = {
    viewBox: "0 0 16 16", width: size, height: size, fill: "none", stroke: "currentColor", "stroke-width": 1.5,
    "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true",
  };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, String(value));
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}
