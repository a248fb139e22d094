// @ts-check
/** Where the focus is in the list, and where it goes when rows change their places. */

const NAME = ".lorchestra-name";
const SPIN = ".lorchestra-weight-spin";
const SECOND_SPIN = ".lorchestra-weight + .lorchestra-weight .lorchestra-weight-spin";

/**
 * Gives a row the focus; or, if there are no rows, the button that adds one.
 * @param {import("./view.mjs").ListView} view
 * @param {number} index the nearest row is taken
 * @param {string} [selector] of the part of the row that is wanted; its name where that cannot be seen
 */
export function focusRow({ rows, parts }, index, selector = NAME) {
  const row = rows[Math.min(Math.max(index, 0), rows.length - 1)];
  if (!row) {
    parts?.add.focus({ preventScroll: true });
    return;
  }
  const wanted = /** @type {HTMLElement | null} */ (row.element.querySelector(selector));
  const part = wanted && isVisible(wanted) ? wanted : /** @type {HTMLElement} */ (row.element.querySelector(NAME));
  part.focus({ preventScroll: true });
  row.element.scrollIntoView?.({ block: "nearest" });
}

/**
 * Gives the focus to what is above or below a row or the head of a group.
 * @param {import("./view.mjs").ListView} view
 * @param {Element} from
 * @param {number} by 1 or -1
 */
export function focusFrom(view, from, by) {
  const items = [...(from.parentElement?.children ?? [])].filter((one) => !(/** @type {HTMLElement} */ (one).hidden));
  const next = items[items.indexOf(from) + by];
  const index = view.rows.findIndex(({ element }) => element === next);
  if (index >= 0) focusRow(view, index, from.classList.contains("lorchestra-row") ? focusedPart() : undefined);
  else /** @type {HTMLElement | null | undefined} */ (next?.querySelector(".lorchestra-group-name"))?.focus({ preventScroll: true });
}

/** @returns {string | undefined} a selector for the part of a row that has the focus, in any row */
export function focusedPart() {
  const focused = document.activeElement;
  const kind = [...(focused?.classList ?? [])].find((name) => name.startsWith("lorchestra-") && name !== "lorchestra-mark");
  if (!kind) return undefined;
  if (`.${kind}` !== SPIN) return `.${kind}`;
  const before = focused?.closest(".lorchestra-weight")?.previousElementSibling;
  return before?.classList.contains("lorchestra-weight") ? SECOND_SPIN : SPIN;
}

/**
 * @param {HTMLElement} row
 * @param {HTMLElement} from
 * @param {number} by how many parts to the right
 */
export function focusBeside(row, from, by) {
  const all = /** @type {HTMLElement[]} */ ([...row.querySelectorAll("button, [tabindex='0']")]);
  const shown = all.filter(isVisible);
  shown[shown.indexOf(from) + by]?.focus({ preventScroll: true });
}

/** @param {HTMLElement} element */
function isVisible(element) {
  return Boolean(element.offsetParent) && getComputedStyle(element).visibility !== "hidden";
}
