// @ts-check
/** What opens over the page beside an element: pop-ups, and menus in them. Nothing is left when they are closed. */

import { create, ROOT_CLASS, setAttribute, useStyle } from "./dom.mjs";

const MARGIN = 8; // to the window's edge, in pixels
const GAP = 4; // to the anchor
const GONE = 300; // milliseconds after which an anchor that cannot be seen is not waited for
const RESTS = 150; // milliseconds after which the pointer opens a menu beside an item
const STYLE = `
.lorchestra-popup {
  position: fixed; z-index: 10000; overflow: auto; overscroll-behavior: contain; border-radius: 8px;
  background: var(--lorchestra-surface); border: 1px solid var(--lorchestra-line);
  box-shadow: 0 8px 28px rgb(0 0 0 / 45%); max-width: calc(100vw - 16px);
}
.lorchestra-popup:focus { outline: none; }
.lorchestra-menu { padding: 4px; min-width: 170px; max-width: 360px; }
.lorchestra-menu-item {
  display: flex; align-items: center; gap: 8px; width: 100%; min-height: 24px; padding: 4px 8px; border: 0; border-radius: 5px;
  background: none; text-align: start; cursor: pointer; white-space: nowrap;
}
.lorchestra-menu-item:is(:hover, :focus):not([aria-disabled="true"]) { background: var(--lorchestra-hover); }
.lorchestra-menu-item[aria-disabled="true"] { opacity: 0.5; cursor: default; }
.lorchestra-menu-label { flex: 1; overflow: hidden; text-overflow: ellipsis; }
.lorchestra-menu-line { height: 1px; margin: 4px 6px; background: var(--lorchestra-line); }
.lorchestra-menu-group { display: flex; align-items: center; gap: 8px; padding: 2px 4px 2px 8px; }
.lorchestra-menu-choices { display: flex; border: 1px solid var(--lorchestra-line); border-radius: 6px; overflow: hidden; }
.lorchestra-menu-choices .lorchestra-menu-item { width: auto; border-radius: 0; padding: 2px 8px; }
.lorchestra-menu-choices .lorchestra-menu-item { min-width: 24px; min-height: 24px; justify-content: center; }
.lorchestra-menu-label:has(.lorchestra-menu-number) { overflow: visible; }
.lorchestra-menu-number { width: 44px; height: 24px; margin: -2px 3px; padding: 0 6px; text-align: end; font-variant-numeric: tabular-nums; }
.lorchestra-menu-number[aria-invalid="true"] { border-color: var(--lorchestra-bad); }
.lorchestra-menu-choices [aria-checked="true"] {
  background: color-mix(in srgb, var(--lorchestra-accent) 28%, var(--lorchestra-surface));
}
`;
const FOCUSABLE = 'button:not(:disabled), input:not(:disabled), textarea, select, a[href], [tabindex]:not([tabindex="-1"])';
const KEPT_INSIDE = ["keydown", "keyup", "keypress", "wheel", "pointerdown", "mousedown", "dblclick", "click",
  "contextmenu", "copy", "cut", "paste", "dragover", "drop"];

/**
 * @typedef {object} Popup
 * @property {() => void} close
 * @property {() => void} place finds the place anew, after the size has changed
 * @property {HTMLElement} element the outermost element
 */

/**
 * @typedef {Element | {x: number, y: number}} Anchor an element, or a point of the window
 */

/** @type {Popup[]} the open ones; each may have been opened out of the one before */
const open = [];

/**
 * Shows an element in a pop-up. It closes on Escape, on a press or the wheel outside, and soon after its anchor has gone
 * away; it follows an anchor that moves. The focus goes in and comes back.
 * @param {object} options
 * @param {Anchor} options.anchor
 * @param {HTMLElement} options.element
 * @param {string} options.label what a screen reader calls it
 * @param {() => void} [options.onClose] called once
 * @param {"below" | "above" | "beside"} [options.placement] where there is room
 * @param {"dialog" | "menu"} [options.role]
 * @param {string} [options.class] further classes
 * @returns {Popup}
 */
export function openPopup({ anchor, element, label, onClose, placement = "below", role = "dialog", class: more = "" }) {
  useStyle("popup", STYLE);
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const root = create("div", {
    class: `${ROOT_CLASS} lorchestra-popup ${more}`, role, "aria-label": label, tabIndex: -1,
  }, element);
  let shown = rectOf(anchor);
  let closed = false;

  const close = () => {
    if (closed) return;
    closed = true;
    window.removeEventListener("pointerdown", onOutside, true);
    window.removeEventListener("wheel", onOutside, true);
    window.removeEventListener("keydown", onEscape, true);
    window.removeEventListener("resize", place);
    for (const later of open.splice(open.indexOf(popup)).slice(1)) later.close();
    const hadFocus = root.contains(document.activeElement) || document.activeElement === document.body;
    root.remove();
    if (hadFocus && before?.isConnected && before !== document.body) before.focus({ preventScroll: true });
    onClose?.();
  };
  const place = () => {
    const at = rectOf(anchor) ?? shown;
    if (at) putBeside(root, at, placement);
  };
  const popup = { close, place, element: root };
  /** @param {Event} event */
  const onOutside = (event) => {
    const target = /** @type {Node} */ (event.target);
    if (open.slice(open.indexOf(popup)).some((one) => one.element.contains(target))) return;
    if (anchor instanceof Element && anchor.contains(target)) {
      if (anchor.matches("input, textarea")) return;
      if (event.type === "pointerdown") swallowClick(anchor); // it would open this again
    }
    close();
  };
  /** @param {KeyboardEvent} event */
  const onEscape = (event) => {
    if (event.key !== "Escape" || event.isComposing || open[open.length - 1] !== popup) return;
    event.preventDefault();
    event.stopPropagation();
    close();
  };
  // A node that grows, or that ComfyUI does not draw for a moment, takes its buttons along. If that closed the pop-up, keys
  // that were meant for it would press the button again.
  let seen = performance.now();
  const watch = () => {
    if (closed) return;
    const now = rectOf(anchor);
    if (now) {
      const moved = !shown || Math.abs(now.left - shown.left) > 2 || Math.abs(now.top - shown.top) > 2;
      seen = performance.now();
      if (moved) {
        shown = now;
        place();
      }
    } else if (performance.now() - seen > GONE) {
      close();
      return;
    }
    requestAnimationFrame(watch);
  };

  for (const kind of KEPT_INSIDE) root.addEventListener(kind, (event) => event.stopPropagation());
  root.addEventListener("keydown", (event) => { if (event.key === "Tab" && role === "dialog") keepFocus(root, event); });
  window.addEventListener("pointerdown", onOutside, true);
  window.addEventListener("wheel", onOutside, true);
  window.addEventListener("keydown", onEscape, true);
  window.addEventListener("resize", place); // a keyboard on the screen comes and goes
  document.body.append(root);
  open.push(popup);
  place();
  const first = root.querySelector("[autofocus]") ?? root.querySelector(FOCUSABLE) ?? root;
  /** @type {HTMLElement} */ (first).focus({ preventScroll: true });
  requestAnimationFrame(watch);
  return popup;
}

/** Closes all that is open. */
export function closePopups() {
  open[0]?.close();
}

/**
 * @typedef {object} Item
 * @property {string} label
 * @property {string} [hint] quiet words at the end, such as the key that does the same
 * @property {boolean} [disabled]
 * @property {boolean} [checked] given, the item is a check mark
 * @property {boolean} [danger]
 * @property {string} [title]
 * @property {() => void} [run]
 * @property {{label: string, checked?: boolean, title?: string, run: () => void}[]} [choices] one of several, in one line
 * @property {Item[]} [items] of a menu of its own, beside the item
 * @property {{value: number, most: number, run: (number: number) => void}} [number] a whole number from 1, typed in the
 *   item; `{number}` in the label says where
 */

/**
 * Opens a menu: arrows, Home, End and letters move, Enter and Space choose, and what is chosen closes it. An item with
 * `items` opens its own menu beside it, also by the right arrow and when the pointer rests on it; the left arrow closes it.
 * In an item with a `number`, digits and the right arrow go to its field.
 * @param {object} options
 * @param {Anchor} options.anchor
 * @param {(Item | "-" | null | undefined | false)[]} options.items "-" is a line
 * @param {string} options.label
 * @param {() => void} [options.onClose]
 * @param {"below" | "above" | "beside"} [options.placement]
 * @param {() => void} [options.onChosen] closes the menu that this one was opened from
 * @returns {Popup}
 */
export function openMenu({ anchor, items, label, onClose, placement, onChosen }) {
  const list = create("div", { class: "lorchestra-menu", role: "presentation" });
  /** @type {HTMLElement[][]} lines of items that can be reached */
  const lines = [];
  /** @type {Popup} */
  let popup;
  /** @type {Map<Element, Item[]>} items that have a menu of their own */
  const inner = new Map();
  /** @type {{of: Element, popup: Popup} | undefined} the one that is open */
  let beside;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let resting;

  /** @param {HTMLElement} element */
  const openBeside = (element) => {
    const own = inner.get(element);
    if (!own || beside?.of === element) return;
    beside?.popup.close();
    element.focus({ preventScroll: true });
    element.setAttribute("aria-expanded", "true");
    const opened = openMenu({
      anchor: element, items: own, label: labelOf(element), placement: "beside",
      onClose: () => {
        element.setAttribute("aria-expanded", "false");
        beside = undefined;
      },
      onChosen: () => {
        popup.close();
        onChosen?.();
      },
    });
    beside = { of: element, popup: opened };
  };

  /**
   * @param {Item | {label: string, checked?: boolean, title?: string, run: () => void}} item
   * @param {string} role
   */
  const createItem = (item, role) => {
    const { hint, disabled, danger, items: own } = /** @type {Item} */ (item);
    const element = create("button", {
      type: "button", role, tabIndex: -1, title: item.title ?? "",
      class: `lorchestra-menu-item${danger ? " lorchestra-bad" : ""}`,
      "aria-disabled": disabled ? true : null, "aria-checked": role === "menuitem" ? null : Boolean(item.checked),
      "aria-haspopup": own ? "menu" : null, "aria-expanded": own ? false : null,
      onclick: () => {
        if (disabled) return;
        if (own) {
          openBeside(element);
          return;
        }
        popup.close();
        onChosen?.();
        item.run?.();
      },
    }, role === "menuitemcheckbox" && create("span", { text: item.checked ? "✓" : "", style: "width:1em", "aria-hidden": "true" }),
    create("span", { class: "lorchestra-menu-label", text: item.label }),
    own ? create("span", { class: "lorchestra-quiet", text: "▸", "aria-hidden": "true" }) : null,
    hint ? create("span", { class: "lorchestra-quiet", text: hint }) : null);
    if (own && !disabled) inner.set(element, own);
    return element;
  };
  /**
   * @param {Item} item
   * @param {NonNullable<Item["number"]>} of
   */
  const createNumbered = (item, { value, most, run }) => {
    const field = create("input", {
      class: "lorchestra-field lorchestra-menu-number", type: "text", inputMode: "numeric", role: "spinbutton", tabIndex: -1,
      autocomplete: "off", spellcheck: false, value: String(value), "aria-label": item.label.replace("{number}", "…"), "aria-valuemin": 1, "aria-valuemax": most,
    });
    const read = () => {
      const number = /^[0-9]{1,9}$/.test(field.value.trim()) ? Number(field.value) : 0;
      return number >= 1 && number <= most ? number : null;
    };
    const show = () => {
      const number = read();
      setAttribute(field, "aria-invalid", number === null);
      setAttribute(field, "aria-valuenow", number);
    };
    const choose = () => {
      const number = read();
      if (number === null) {
        field.focus();
        return;
      }
      popup.close();
      onChosen?.();
      run(number);
    };
    const type = (/** @type {string} */ digit) => {
      field.focus({ preventScroll: false });
      if (digit) field.value = digit;
      else field.select();
      show();
    };
    const [before, after] = item.label.split("{number}");
    const element = create("div", {
      role: "menuitem", tabIndex: -1, class: "lorchestra-menu-item", // a check mark may hold no field
      "aria-current": item.checked ? true : null,
      onclick: (/** @type {Event} */ event) => { if (event.target !== field) choose(); },
    }, create("span", { text: item.checked ? "✓" : "", style: "width:1em", "aria-hidden": "true" }),
    create("span", { class: "lorchestra-menu-label" }, before, field, after));
    field.addEventListener("input", show);
    element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      const { key } = event;
      const inField = event.target === field;
      const up = key === "ArrowUp" ? 1 : key === "ArrowDown" ? -1 : 0;
      if (key === "Enter" || (key === " " && !inField)) choose();
      else if (inField && up) {
        field.value = String(Math.min(Math.max((read() ?? value) + up, 1), most));
        show();
      } else if (inField && key === "ArrowLeft" && !field.selectionEnd) element.focus();
      else if (inField && key !== "Tab") {
        event.stopPropagation(); // letters are the field's
        return;
      } else if (!inField && key === "ArrowRight") type("");
      else if (!inField && /^[0-9]$/.test(key)) type(key);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    show();
    return element;
  };
  for (const item of items) {
    if (!item) continue;
    if (item === "-") {
      if (list.lastElementChild && list.lastElementChild.role !== "separator") {
        list.append(create("div", { class: "lorchestra-menu-line", role: "separator" }));
      }
      continue;
    }
    if (item.choices) {
      const choices = item.choices.map((choice) => createItem(choice, "menuitemradio"));
      list.append(create("div", { class: "lorchestra-menu-group", role: "group", "aria-label": item.label, title: item.title ?? "" },
        create("span", { class: "lorchestra-menu-label", text: item.label, "aria-hidden": "true" }),
        create("span", { class: "lorchestra-menu-choices", role: "presentation" }, ...choices)));
      lines.push(choices);
      continue;
    }
    const element = item.number ? createNumbered(item, item.number)
      : createItem(item, item.checked === undefined ? "menuitem" : "menuitemcheckbox");
    list.append(element);
    lines.push([element]);
  }

  list.addEventListener("keydown", (event) => {
    const all = lines.flat();
    const at = lines.findIndex((line) => line.includes(/** @type {HTMLElement} */ (document.activeElement)));
    const line = lines[at] ?? [];
    const inLine = line.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    /** @type {HTMLElement | undefined} */
    let next;
    if (event.key === "ArrowDown") next = startOf(lines[(at + 1) % lines.length]);
    else if (event.key === "ArrowUp") next = startOf(lines[(Math.max(at, 0) - 1 + lines.length) % lines.length]);
    else if (event.key === "ArrowRight" && line.some((one) => inner.has(one))) openBeside(line[inLine]);
    else if (event.key === "ArrowLeft" && onChosen) popup.close();
    else if (event.key === "ArrowRight") next = line[(inLine + 1) % line.length];
    else if (event.key === "ArrowLeft") next = line[(inLine - 1 + line.length) % line.length];
    else if (event.key === "Home") next = startOf(lines[0]);
    else if (event.key === "End") next = startOf(lines[lines.length - 1]);
    else if (event.key === "Tab") popup.close();
    else if (event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const from = all.indexOf(/** @type {HTMLElement} */ (document.activeElement)) + 1;
      const letter = event.key.toLowerCase();
      next = [...all.slice(from), ...all.slice(0, from)].find((one) => labelOf(one).toLowerCase().startsWith(letter));
    } else return;
    event.preventDefault();
    next?.focus({ preventScroll: false });
  });
  list.addEventListener("pointerover", (event) => {
    const over = /** @type {Element} */ (event.target).closest("[role^=menuitem]");
    clearTimeout(resting);
    if (!over || over === beside?.of) return;
    resting = setTimeout(() => {
      if (!over.isConnected) return;
      if (inner.has(over)) openBeside(/** @type {HTMLElement} */ (over));
      else beside?.popup.close();
    }, RESTS);
  });
  list.addEventListener("pointerleave", () => clearTimeout(resting));
  popup = openPopup({ anchor, element: list, label, onClose, placement, role: "menu" });
  startOf(lines[0])?.focus({ preventScroll: true });
  return popup;
}

/**
 * The chosen one of a line of choices, else its first.
 * @param {HTMLElement[] | undefined} line
 */
function startOf(line) {
  return line?.find((one) => one.getAttribute("aria-checked") === "true") ?? line?.[0];
}

/** @param {HTMLElement} item */
function labelOf(item) {
  return item.querySelector(".lorchestra-menu-label")?.textContent ?? "";
}

/**
 * @param {Anchor} anchor
 * @returns {DOMRect | undefined} nothing when the anchor cannot be seen any more
 */
function rectOf(anchor) {
  if (!(anchor instanceof Element)) return new DOMRect(anchor.x, anchor.y, 0, 0);
  if (!anchor.isConnected) return undefined;
  const rect = anchor.getBoundingClientRect();
  return rect.width || rect.height ? rect : undefined;
}

/**
 * Inside the window, below the anchor or where there is more room.
 * @param {HTMLElement} element
 * @param {DOMRect} at
 * @param {"below" | "above" | "beside"} placement
 */
function putBeside(element, at, placement) {
  const { innerWidth: width, innerHeight: height } = window;
  element.style.maxHeight = "";
  const { offsetWidth: wide, offsetHeight: high } = element;
  const below = height - at.bottom - GAP - MARGIN;
  const above = at.top - GAP - MARGIN;
  let left = at.left;
  let top;
  if (placement === "beside") {
    left = at.right + GAP + wide + MARGIN <= width ? at.right + GAP : at.left - GAP - wide;
    top = at.top;
  } else {
    const up = placement === "above" ? above >= high || above > below : below < high && above > below;
    const room = Math.max(up ? above : below, 80);
    if (high > room) element.style.maxHeight = `${room}px`;
    top = up ? at.top - GAP - Math.min(high, room) : at.bottom + GAP;
  }
  const now = Math.min(element.offsetHeight, height - 2 * MARGIN);
  element.style.left = `${Math.max(Math.min(left, width - wide - MARGIN), MARGIN)}px`;
  element.style.top = `${Math.max(Math.min(top, height - now - MARGIN), MARGIN)}px`;
}

/** @param {Element} anchor a button that is being pressed */
function swallowClick(anchor) {
  const swallow = (/** @type {Event} */ event) => event.stopPropagation();
  anchor.addEventListener("click", swallow, { capture: true, once: true });
  window.addEventListener("pointerup", () => setTimeout(() => anchor.removeEventListener("click", swallow, true), 0),
    { capture: true, once: true });
}

/**
 * @param {HTMLElement} root
 * @param {KeyboardEvent} event Tab
 */
function keepFocus(root, event) {
  const all = /** @type {HTMLElement[]} */ ([...root.querySelectorAll(FOCUSABLE)]).filter((one) => one.offsetParent);
  const at = event.shiftKey ? all[0] : all[all.length - 1];
  const wanted = event.shiftKey ? all[all.length - 1] : all[0];
  if (document.activeElement !== at && document.activeElement !== root) return;
  event.preventDefault();
  wanted?.focus();
}
