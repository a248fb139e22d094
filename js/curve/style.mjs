// @ts-check
/** How the curve editor looks. */

/** Least height of the element without a text in it, in pixels. */
export const CURVE_HEIGHT = 214;

export const STYLE = `
.lorchestra-curve { display: flex; flex-direction: column; gap: 4px; min-height: ${CURVE_HEIGHT}px; min-width: 0; }
.lorchestra-curve-bar { display: flex; align-items: center; gap: 4px; height: 24px; flex: none; min-width: 0; }
@media (max-width: 599.98px) { .lorchestra-popup .lorchestra-curve-bar { flex-wrap: wrap; height: auto; min-height: 24px; } }
.lorchestra-curve-bar :is(button, select, input) { height: 24px; padding: 0 6px; flex: none; }
.lorchestra-curve-icon { width: 24px; display: inline-flex; align-items: center; justify-content: center; padding: 0 !important; }
.lorchestra-curve-bar select {
  appearance: none; cursor: pointer; padding-inline-end: 18px; background-repeat: no-repeat;
  background-image: linear-gradient(45deg, transparent 50%, var(--lorchestra-quiet) 50%),
    linear-gradient(135deg, var(--lorchestra-quiet) 50%, transparent 50%);
  background-size: 4px 4px; background-position: right 10px center, right 6px center;
}
.lorchestra-curve-presets { display: inline-flex; align-items: center; gap: 4px; }
.lorchestra-curve-bar select option { color: #111; background: #fff; }
.lorchestra-curve-bar select.lorchestra-curve-way-field { flex: 1 1 60px; min-width: 44px; text-overflow: ellipsis; }
.lorchestra-curve-bar label { display: inline-flex; align-items: center; gap: 4px; flex: none; white-space: nowrap; }
.lorchestra-curve-bar input { width: 50px; font-variant-numeric: tabular-nums; }
.lorchestra-curve-bar label + label > input { width: 42px; }
.lorchestra-curve-count { min-width: 30px; text-align: center; font-variant-numeric: tabular-nums; white-space: nowrap; flex: none; }
.lorchestra-curve-status {
  flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; text-align: end; font-size: 11px;
}
.lorchestra-curve-factor { flex: 0 1 auto !important; max-width: 120px; text-overflow: ellipsis; }
.lorchestra-curve-text {
  resize: none; flex: none; height: 42px; font-family: var(--lorchestra-mono) !important; font-size: 11px !important; line-height: 1.4;
  overflow-wrap: anywhere;
}
.lorchestra-curve-text[aria-invalid="true"] { border-color: var(--lorchestra-bad); }
`;

export const ICONS = {
  invert: "M4 3v10M1.5 5.5 4 3l2.5 2.5M12 13V3M9.5 10.5 12 13l2.5-2.5",
  mirror: "M3 4h10M5.5 1.5 3 4l2.5 2.5M13 12H3M10.5 9.5 13 12l-2.5 2.5",
  add: "M8 3v10M3 8h10",
  remove: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5 5 13h6l.5-8.5M7 7v3.5M9 7v3.5",
  before: "M10 3 5 8l5 5",
  after: "M6 3l5 5-5 5",
  more: "M4 6l4 4 4-4",
};
