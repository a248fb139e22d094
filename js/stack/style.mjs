// @ts-check
/** The look of the stack on its node. */

export const HEAD_HEIGHT = 26;
export const ROW_HEIGHT = 26;
export const WORDS_HEIGHT = 26;
export const TROUBLE_HEIGHT = 60;
export const TEXT_HEIGHT = 132;
export const GAP = 4;
const TARGET = 24; // least width and height of what is pressed

export const STYLE = `
.lorchestra-loras { display: flex; flex-direction: column; gap: ${GAP}px; width: 100%; min-width: 0; cursor: default; user-select: none; -webkit-touch-callout: none; }
.lorchestra-loras:empty { border-radius: 8px; background: var(--lorchestra-field); }
.lorchestra-loras[inert] { opacity: 0.55; }
.lorchestra-loras :where(button:not(.lorchestra-button)) { border: 0; background: none; padding: 0; cursor: pointer; }
.lorchestra-stack-head { display: flex; align-items: center; gap: 6px; height: ${HEAD_HEIGHT}px; flex: none; min-width: 0; padding: 0 4px 0 6px; }
.lorchestra-stack-status { flex: none; max-width: 100%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-weight: 500; }
.lorchestra-stack-status.lorchestra-bad { flex: 0 1 auto; font-weight: 400; }
.lorchestra-stack-line { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-stack-problems { flex: 0 1 auto; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-stack-fix { flex: none; height: ${TARGET}px; padding: 0 7px; white-space: nowrap; }
.lorchestra-stack-fix:not([hidden]) ~ .lorchestra-stack-add span { display: none; }
.lorchestra-stack-fix:not([hidden]) ~ .lorchestra-stack-add { padding: 0 6px; }
.lorchestra-stack-add { display: flex; align-items: center; gap: 4px; height: ${TARGET}px; padding: 0 8px 0 6px; flex: none; }
.lorchestra-stack-box {
  flex: none; display: flex; flex-direction: column; border-radius: 8px; overflow: hidden; background: var(--lorchestra-field);
  border: 1px solid var(--lorchestra-line);
}
.lorchestra-stack-box:has(.lorchestra-stack-scrolls, .lorchestra-stack-text:not([hidden])) { flex: 1 1 0; min-height: 0; }
.lorchestra-stack-rows { display: flex; flex-direction: column; position: relative; flex: 1; min-height: 0; }
.lorchestra-stack-scrolls { overflow-y: auto; overscroll-behavior: contain; scrollbar-width: thin; }
.lorchestra-stack-scrolls .lorchestra-row { content-visibility: auto; contain-intrinsic-size: auto ${ROW_HEIGHT}px; }
.lorchestra-stack-empty { display: flex; align-items: center; justify-content: center; height: ${ROW_HEIGHT}px; width: 100%; border-radius: 8px; }
.lorchestra-stack-empty:hover { background: var(--lorchestra-hover) !important; }
.lorchestra-stack-text {
  flex: 1; width: 100%; min-height: ${TEXT_HEIGHT}px; padding: 6px 8px; resize: none; border: 0; background: none; overflow: auto;
  user-select: text; line-height: 1.4; white-space: pre-wrap; overflow-wrap: anywhere;
}
.lorchestra .lorchestra-stack-text { font-family: var(--lorchestra-mono); }

.lorchestra-row {
  display: flex; align-items: center; gap: 2px; height: ${ROW_HEIGHT}px; flex: none; min-width: 0; padding-right: 1px;
  background: var(--lorchestra-field);
}
.lorchestra-row-open { position: relative; height: ${ROW_HEIGHT + WORDS_HEIGHT}px; padding-bottom: ${WORDS_HEIGHT}px; }
.lorchestra-row-refused { position: relative; height: ${ROW_HEIGHT + TROUBLE_HEIGHT}px; padding-bottom: ${TROUBLE_HEIGHT}px; }
.lorchestra-row-open.lorchestra-row-refused {
  height: ${ROW_HEIGHT + TROUBLE_HEIGHT + WORDS_HEIGHT}px; padding-bottom: ${TROUBLE_HEIGHT + WORDS_HEIGHT}px;
}
.lorchestra-trouble { position: absolute; inset: auto 6px 0 18px; height: ${TROUBLE_HEIGHT}px; font-size: 11px; line-height: 14px; }
.lorchestra-row-open .lorchestra-trouble { bottom: ${WORDS_HEIGHT}px; }
.lorchestra-trouble-text {
  margin: 0 0 3px; height: 28px; overflow: hidden; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2;
  overflow-wrap: anywhere; user-select: text;
}
.lorchestra-trouble-buttons { display: flex; gap: 4px; min-width: 0; }
.lorchestra-loras .lorchestra-trouble-button { flex: 0 1 auto; height: ${TARGET}px; padding: 0 7px; font-size: 11px; line-height: 16px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.lorchestra-words {
  position: absolute; inset: auto 4px 0 18px; height: ${WORDS_HEIGHT}px; display: flex; align-items: center; gap: 6px; padding-bottom: 2px;
}
.lorchestra-chips {
  flex: 1; min-width: 0; height: 100%; display: flex; align-items: center; gap: 4px; overflow: auto hidden; scrollbar-width: none;
  font-size: 11px; mask-image: linear-gradient(to right, #000 calc(100% - 12px), transparent);
}
.lorchestra-loras .lorchestra-chip {
  position: relative; z-index: 0; flex: none; min-width: ${TARGET}px; max-width: 180px; height: ${TARGET}px; padding: 0 8px; font-size: 11px;
  line-height: ${TARGET}px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: var(--lorchestra-quiet);
}
.lorchestra-chip::before {
  content: ""; position: absolute; z-index: -1; inset: 3px 0; border: 1px dashed var(--lorchestra-line); border-radius: 9px;
}
.lorchestra-loras .lorchestra-chip[aria-pressed="true"] { color: var(--lorchestra-text); }
.lorchestra-chip[aria-pressed="true"]::before {
  border-style: solid; background: color-mix(in srgb, var(--lorchestra-accent) 20%, var(--lorchestra-field));
}
.lorchestra-chip[aria-pressed="true"].lorchestra-chip-missing::before { border-color: var(--lorchestra-warn); background: none; }
.lorchestra-chip:hover::before { background: var(--lorchestra-hover); }
.lorchestra-insert { flex: none; display: flex; align-items: center; gap: 3px; height: ${TARGET}px; padding: 0 6px 0 4px; font-size: 11px; }
.lorchestra-row + .lorchestra-row { box-shadow: 0 -1px color-mix(in srgb, var(--lorchestra-text) 9%, transparent); }
.lorchestra-row:is(:hover, :focus-within) { background: color-mix(in srgb, var(--lorchestra-text) 5%, var(--lorchestra-field)); }
.lorchestra-row.lorchestra-lifted { z-index: 1; position: relative; box-shadow: 0 2px 10px rgb(0 0 0 / 45%); background: var(--lorchestra-hover); }
.lorchestra-stack-moving .lorchestra-row:not(.lorchestra-lifted) { transition: transform 120ms; }
.lorchestra-grip {
  flex: none; width: ${TARGET}px; height: 100%; display: grid; place-items: center; cursor: grab; color: var(--lorchestra-quiet); opacity: 0.55;
  touch-action: none;
}
.lorchestra-row:is(:hover, :focus-within) .lorchestra-grip { opacity: 1; }
.lorchestra-lifted .lorchestra-grip { cursor: grabbing; }
.lorchestra-loras .lorchestra-switch {
  flex: none; position: relative; width: ${TARGET}px; height: ${TARGET}px; border-radius: 7px;
}
.lorchestra-switch::before {
  content: ""; position: absolute; inset: 5px 0; border-radius: 7px; transition: background 100ms;
  background: color-mix(in srgb, var(--lorchestra-text) 30%, var(--lorchestra-field));
}
.lorchestra-switch::after {
  content: ""; position: absolute; top: 7px; left: 2px; width: 10px; height: 10px; border-radius: 5px; background: var(--lorchestra-field);
  transition: transform 100ms;
}
.lorchestra-switch[aria-checked="true"]::before { background: var(--lorchestra-accent); }
.lorchestra-switch[aria-checked="mixed"]::before { background: color-mix(in srgb, var(--lorchestra-accent) 55%, var(--lorchestra-field)); }
.lorchestra-switch[aria-checked="true"]::after { transform: translateX(10px); }
.lorchestra-switch[aria-checked="mixed"]::after { transform: translateX(5px); }
.lorchestra-loras .lorchestra-name {
  flex: 1; min-width: 0; height: ${TARGET}px; display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 6px; padding: 0 4px; border-radius: 4px;
  text-align: start; line-height: ${TARGET}px; white-space: nowrap; overflow: hidden;
}
.lorchestra-loras .lorchestra-name:hover { background: var(--lorchestra-hover); }
.lorchestra-name-title { flex: 0 1 auto; min-width: 40px; max-width: 100%; overflow: hidden; text-overflow: ellipsis; unicode-bidi: isolate; }
/* Where there is no room for a few letters and an ellipsis, it wraps, and is not seen. */
.lorchestra-name-folder {
  flex: 1 1 36px; min-width: 0; overflow: hidden; text-overflow: ellipsis; font-size: 11px; color: var(--lorchestra-quiet); unicode-bidi: isolate;
}
.lorchestra-row-off :is(.lorchestra-name, .lorchestra-weight-number, .lorchestra-mark-set) { color: var(--lorchestra-quiet); }
.lorchestra-row-off .lorchestra-name-title { text-decoration: line-through; text-decoration-color: color-mix(in srgb, currentColor 45%, transparent); }
.lorchestra-loras .lorchestra-mark {
  flex: none; display: grid; place-items: center; min-width: ${TARGET}px; height: ${TARGET}px; border-radius: 4px; font-size: 11px; font-weight: 600;
}
.lorchestra-loras .lorchestra-mark:hover { background: var(--lorchestra-hover); }
.lorchestra-mark-set { color: var(--lorchestra-accent); }
.lorchestra-loras .lorchestra-schedule:not(.lorchestra-mark-set) { opacity: 0; color: var(--lorchestra-quiet); }
.lorchestra-row:is(:hover, :focus-within) .lorchestra-schedule.lorchestra-mark { opacity: 1; }
@media (hover: none) { .lorchestra-loras .lorchestra-schedule.lorchestra-mark { opacity: 1; } }
.lorchestra-loras .lorchestra-tag {
  position: relative; z-index: 0; flex: none; min-width: ${TARGET}px; height: ${TARGET}px; padding: 0 4px; font-size: 10px; font-weight: 600;
}
.lorchestra-tag::before {
  content: ""; position: absolute; z-index: -1; inset: 4px 1px; border-radius: 4px;
  background: color-mix(in srgb, var(--lorchestra-accent) 20%, var(--lorchestra-field));
}
.lorchestra-loras .lorchestra-offer {
  flex: 0 1 auto; min-width: 62px; max-width: 60%; height: ${TARGET}px; padding: 0 6px; display: flex; flex-wrap: wrap; gap: 2px 5px; font-size: 11px;
  line-height: 22px; white-space: nowrap; overflow: hidden;
}
.lorchestra-loras .lorchestra-offer[hidden] { display: none; }
.lorchestra-offer > :first-child { flex: none; }
.lorchestra-offer-name { flex: 1 1 30px; min-width: 30px; overflow: hidden; text-overflow: ellipsis; text-align: start; unicode-bidi: isolate; }
.lorchestra-loras .lorchestra-name:has(~ .lorchestra-offer:not([hidden])) { min-width: 56px; }
.lorchestra-name:has(~ .lorchestra-offer:not([hidden])) .lorchestra-name-folder { display: none; }
.lorchestra-group {
  display: flex; align-items: center; gap: 2px; height: ${ROW_HEIGHT}px; flex: none; min-width: 0; padding-right: 1px;
  background: color-mix(in srgb, var(--lorchestra-text) 7%, var(--lorchestra-field));
}
.lorchestra-loras .lorchestra-group-name {
  flex: 0 1 auto; min-width: ${TARGET}px; height: ${TARGET}px; padding: 0 4px; border-radius: 4px; text-align: start; font-weight: 600; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; cursor: text;
}
.lorchestra-loras .lorchestra-group-name:hover { background: var(--lorchestra-hover); }
.lorchestra-loras .lorchestra-group-input { flex: 1; min-width: 60px; height: ${TARGET}px; padding: 0 4px; border: 0; border-radius: 4px; font-weight: 600; background: var(--lorchestra-surface); }
.lorchestra-group-count { flex: 1; min-width: 0; padding: 0 4px; font-size: 11px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-group-off :is(.lorchestra-group-name, .lorchestra-weight-number) { color: var(--lorchestra-quiet); }
.lorchestra-group-off .lorchestra-group-name { text-decoration: line-through; text-decoration-color: color-mix(in srgb, currentColor 45%, transparent); }
.lorchestra-row-grouped { border-inline-start: 3px solid color-mix(in srgb, var(--lorchestra-accent) 55%, var(--lorchestra-field)); }
.lorchestra-row-idle :is(.lorchestra-name, .lorchestra-weight-number, .lorchestra-mark-set) { color: var(--lorchestra-quiet); }
.lorchestra-row-idle .lorchestra-switch::before { opacity: 0.5; }
.lorchestra-row[hidden] { display: none; }
.lorchestra-weight {
  flex: none; width: 54px; height: ${TARGET}px; border-radius: 5px; background: color-mix(in srgb, var(--lorchestra-text) 7%, var(--lorchestra-field));
}
.lorchestra-weight-lettered { width: 64px; }
.lorchestra-weight-wide { width: auto; min-width: 82px; }
.lorchestra-weight:hover { background: color-mix(in srgb, var(--lorchestra-text) 12%, var(--lorchestra-field)); }
.lorchestra-weight-same:not(:hover) { background: none; }
.lorchestra-weight-same .lorchestra-weight-number { color: var(--lorchestra-quiet); font-style: italic; }
.lorchestra-weight-course .lorchestra-weight-number { font-size: 11px; white-space: nowrap; }
.lorchestra-weight-spin {
  display: flex; align-items: center; justify-content: flex-end; gap: 4px; height: ${TARGET}px; padding: 0 7px; border-radius: 5px; cursor: ew-resize;
  touch-action: none; font-variant-numeric: tabular-nums;
}
.lorchestra-weight-letter { flex: 1; font-size: 10px; color: var(--lorchestra-quiet); }
.lorchestra-loras .lorchestra-weight-input {
  width: 100%; height: ${TARGET}px; padding: 0 6px; border: 0; border-radius: 5px; text-align: right; background: var(--lorchestra-surface);
  user-select: text; font-variant-numeric: tabular-nums;
}
.lorchestra-loras .lorchestra-more { flex: none; width: ${TARGET}px; height: ${TARGET}px; display: grid; place-items: center; border-radius: 4px; color: var(--lorchestra-quiet); }
.lorchestra-loras .lorchestra-more:hover { background: var(--lorchestra-hover); color: var(--lorchestra-text); }

.lorchestra-find { width: 360px; max-width: 100%; padding: 10px 12px; display: flex; flex-direction: column; gap: 8px; }
.lorchestra-find p { margin: 0; overflow-wrap: anywhere; }
.lorchestra-find dl { margin: 0; display: grid; grid-template-columns: auto 1fr; gap: 2px 8px; }
.lorchestra-find dd { margin: 0; overflow-wrap: anywhere; font-family: var(--lorchestra-mono); font-size: 11px; user-select: text; }
.lorchestra-find-buttons { display: flex; flex-wrap: wrap; gap: 6px; }
.lorchestra-find-mark { display: inline-block; width: 13px; height: 13px; margin-inline-end: 5px; vertical-align: -2px; }
.lorchestra-find-found { text-align: start; display: block; width: 100%; overflow-wrap: anywhere; }
`;

/** Pictures, as paths in a box of 16 × 16. */
export const ICONS = {
  grip: "M6 4h.01M10 4h.01M6 8h.01M10 8h.01M6 12h.01M10 12h.01",
  more: "M8 3.5h.01M8 8h.01M8 12.5h.01",
  add: "M8 3v10M3 8h10",
  open: "M4 6l4 4 4-4",
  closed: "M6 4l4 4-4 4",
  curve: "M2 12.5c5 0 4-9 12-9",
  fits: "M3 8.5l3.5 3.5L13 4.5",
  partly: "M8 3v5.5M8 12.5h.01",
  cross: "M4 4l8 8M12 4l-8 8",
  unknown: "M5.5 6a2.5 2.5 0 1 1 3.6 2.2C8.3 8.6 8 9 8 10M8 13h.01",
  words: "M3 3.5h10v7H8.5L5.5 13v-2.5H3z",
  missing: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.5 10.5L14 14",
};
