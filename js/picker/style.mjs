// @ts-check
/** How the picker looks. */

export const STYLE = `
.lorchestra-popup.lorchestra-picker { display: flex; flex-direction: column; overflow: hidden; padding: 0; }
.lorchestra-picker-panel {
  display: flex; flex-direction: column; gap: 6px; padding: 8px; min-height: 0; max-height: 60vh;
  width: min(560px, calc(100vw - 16px));
}
.lorchestra-picker-top { display: flex; gap: 6px; flex: none; }
.lorchestra-picker-search { flex: 1; height: 28px; }
.lorchestra-picker-search::placeholder { color: var(--lorchestra-quiet); opacity: 1; }
.lorchestra-picker-chips { display: flex; flex-wrap: wrap; gap: 6px; flex: none; }
.lorchestra-picker-chip {
  display: inline-flex; align-items: center; gap: 5px; height: 24px; padding: 0 9px; border-radius: 12px; cursor: pointer;
  background: var(--lorchestra-field); border: 1px solid var(--lorchestra-line); max-width: 240px;
}
.lorchestra-picker-chip[hidden] { display: none; }
.lorchestra-picker-chip > span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-picker-chip:hover { background: var(--lorchestra-hover); }
.lorchestra-picker-chip[aria-pressed="true"], .lorchestra-picker-chip.lorchestra-picker-chosen {
  border-color: var(--lorchestra-accent);
  background: color-mix(in srgb, var(--lorchestra-accent) 22%, var(--lorchestra-field));
}
.lorchestra-picker-body {
  display: flex; min-height: 0; flex: 0 1 auto; border: 1px solid var(--lorchestra-line); border-radius: 6px;
  background: var(--lorchestra-field); overflow: hidden;
}
.lorchestra-picker-folders {
  flex: 0 0 150px; overflow: hidden auto; border-inline-end: 1px solid var(--lorchestra-line); scrollbar-width: thin;
}
.lorchestra-picker-folders[hidden] { display: none; }
.lorchestra-picker-folder { display: flex; align-items: center; gap: 6px; padding: 0 8px; cursor: pointer; }
.lorchestra-picker-folder-name { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: pre; }
.lorchestra-picker-folder:hover, .lorchestra-picker-row:hover { background: var(--lorchestra-hover); }
.lorchestra-picker-folder.lorchestra-picker-chosen, .lorchestra-picker-row.lorchestra-picker-active {
  background: color-mix(in srgb, var(--lorchestra-accent) 22%, var(--lorchestra-field));
}
.lorchestra-picker-list { flex: 1; min-width: 0; overflow: hidden auto; scrollbar-width: thin; }
.lorchestra-picker-list[hidden] { display: none; }
.lorchestra-picker-row { display: flex; align-items: center; gap: 8px; padding: 0 6px 0 8px; cursor: pointer; contain: strict; }
.lorchestra-picker-row.lorchestra-picker-current { box-shadow: inset 3px 0 var(--lorchestra-accent); }
.lorchestra-picker-cut { display: flex; min-width: 0; white-space: pre; }
.lorchestra-picker-cut > :first-child { overflow: hidden; text-overflow: ellipsis; }
.lorchestra-picker-cut > :last-child { flex: none; }
.lorchestra-picker-name { flex: 0 1 auto; }
.lorchestra-picker-where { flex: 1 1 0; font-size: 11px; overflow: hidden; }
.lorchestra-picker-family {
  flex: none; max-width: 110px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; padding: 0 6px;
  border: 1px solid var(--lorchestra-line); border-radius: 8px; font-size: 10px; line-height: 16px;
}
.lorchestra-picker-unread { border-style: dashed; color: var(--lorchestra-quiet); }
.lorchestra-picker-misfit .lorchestra-picker-name { color: var(--lorchestra-quiet); }
.lorchestra-picker-misfit .lorchestra-picker-family { color: var(--lorchestra-warn); border-color: currentColor; }
.lorchestra-picker-row:is(:hover, .lorchestra-picker-active) > :not(.lorchestra-picker-star),
.lorchestra-picker-chosen > .lorchestra-quiet { color: inherit; }
.lorchestra-picker-row.lorchestra-picker-unusable { cursor: default; background: none; color: var(--lorchestra-quiet); }
.lorchestra-picker-unusable .lorchestra-picker-family { color: var(--lorchestra-warn); border-color: currentColor; }
.lorchestra-picker-unusable .lorchestra-picker-name { flex: 0 2 auto; }
.lorchestra-picker-unusable > .lorchestra-picker-star { visibility: hidden !important; }
.lorchestra-picker-star { flex: none; display: flex; padding: 5px 3px; visibility: hidden; }
.lorchestra-picker-row:hover .lorchestra-picker-star, .lorchestra-picker-active .lorchestra-picker-star,
.lorchestra-picker-starred { visibility: visible; }
.lorchestra-picker-starred { color: var(--lorchestra-warn); }
.lorchestra-picker-starred path { fill: currentColor; }
.lorchestra-picker-row.lorchestra-picker-selected {
  background: color-mix(in srgb, var(--lorchestra-accent) 14%, var(--lorchestra-field));
}
.lorchestra-picker-add { flex: none; display: flex; padding: 5px 3px; visibility: hidden; border-radius: 4px; }
.lorchestra-picker-row:hover .lorchestra-picker-add, .lorchestra-picker-active .lorchestra-picker-add,
.lorchestra-picker-added .lorchestra-picker-add { visibility: visible; }
.lorchestra-picker-add:hover { background: var(--lorchestra-line); }
.lorchestra-picker-add > :last-child, .lorchestra-picker-added .lorchestra-picker-add > :first-child { display: none; }
.lorchestra-picker-added .lorchestra-picker-add > :last-child { display: block; }
.lorchestra-picker-added .lorchestra-picker-add { color: var(--lorchestra-good); }
.lorchestra-picker-unusable > .lorchestra-picker-add { visibility: hidden !important; }
.lorchestra-picker-wide .lorchestra-picker-panel { width: min(900px, calc(100vw - 16px)); max-height: 74vh; }
.lorchestra-picker-view { padding: 0 7px; }
.lorchestra-picker-grid { scrollbar-gutter: stable; }
.lorchestra-picker-row.lorchestra-cell { display: grid; grid-template: minmax(0, 1fr) 22px / minmax(0, 1fr); place-items: stretch; gap: 0; padding: 4px; border-radius: 8px; }
.lorchestra-cell > * { grid-area: 1 / 1; z-index: 1; }
.lorchestra-cell > .lorchestra-picker-name { grid-area: 2 / 1; align-self: center; font-size: 11px; }
.lorchestra-cell > .lorchestra-picker-family { place-self: end start; margin: 4px; background: var(--lorchestra-surface); }
.lorchestra-cell > :is(.lorchestra-picker-star, .lorchestra-picker-add) {
  place-self: start end; margin: 4px; padding: 4px; border-radius: 6px; background: var(--lorchestra-surface);
}
.lorchestra-cell > .lorchestra-picker-add { place-self: start; }
.lorchestra-cell-picture {
  position: relative; z-index: 0 !important; overflow: hidden; border-radius: 6px; display: grid; place-items: center;
  background: color-mix(in srgb, var(--lorchestra-text) 6%, var(--lorchestra-field));
}
.lorchestra-cell-picture > :is(img, video) { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; }
.lorchestra-cell-picture > img:not([src]) { visibility: hidden; }
.lorchestra-cell-none { padding: 4px; font-size: 10px; text-align: center; }
.lorchestra-cell-count { position: absolute; right: 6px; bottom: 5px; z-index: 2; font-size: 10px; padding: 0 5px; border-radius: 8px; background: var(--lorchestra-surface); }
.lorchestra-cell-none::before { content: attr(data-words); }
.lorchestra-cell-count::before { content: attr(data-count); }
.lorchestra-cell-count:is(:not([data-count]), [data-count=""]) { display: none; }
.lorchestra-picker-active > .lorchestra-cell-picture { outline: 2px solid var(--lorchestra-accent); }
.lorchestra-blurred :is(img, video), img.lorchestra-blurred { filter: blur(18px); }
.lorchestra-picker-unusable .lorchestra-cell-picture { visibility: hidden; }
.lorchestra-picker-says {
  flex: 1; display: flex; flex-direction: column; align-items: center; justify-content: center; gap: 8px; padding: 16px;
  min-width: 0; overflow: auto; text-align: center; overflow-wrap: anywhere;
}
.lorchestra-picker-says[hidden] { display: none; }
.lorchestra-picker-says > div { display: flex; flex-wrap: wrap; gap: 6px; justify-content: center; }
.lorchestra-picker-unkept { flex: none; font-size: 11px; overflow-wrap: anywhere; }
.lorchestra-picker-foot { display: flex; gap: 12px; justify-content: space-between; flex: none; font-size: 11px; }
.lorchestra-picker-foot > :last-child { text-align: end; }
.lorchestra-picker-preview {
  position: fixed; z-index: 9999; pointer-events: none; overflow: hidden; border-radius: 8px; border: 1px solid var(--lorchestra-line);
  background: var(--lorchestra-surface); box-shadow: 0 8px 28px rgb(0 0 0 / 45%);
}
.lorchestra-picker-preview[hidden] { display: none; }
.lorchestra-picker-image { display: block; width: 100%; max-height: 320px; object-fit: contain; }
.lorchestra-picker-caption { padding: 4px 8px; overflow-wrap: anywhere; }
.lorchestra-picker-caption > :empty { display: none; }
.lorchestra-picker-caption:not(:has(> :not(:empty))) { display: none; }
.lorchestra-picker-caption > :last-child {
  font-size: 11px; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 5; overflow: hidden;
}
`;
