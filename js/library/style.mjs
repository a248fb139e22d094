// @ts-check
/** How the library looks. */

export const STYLE = `
.lorchestra-library {
  display: flex; flex-direction: column; height: 100%; min-height: 0; container-type: size; background: var(--lorchestra-surface);
}
.lorchestra-library > .lorchestra-picker-panel { flex: 1; width: auto; min-width: 0; max-height: none; }
.lorchestra-library .lorchestra-picker-body { flex: 1; }
.lorchestra-library-wider { flex: none; }
.lorchestra-library-wider[aria-pressed="true"] { border-color: var(--lorchestra-accent); }
.lorchestra-library-details > .lorchestra-cell-picture { flex: none; height: 150px; }
.lorchestra-library-details > .lorchestra-cell-picture > :is(img, video) { object-fit: contain; }
.lorchestra-library-wide > .lorchestra-library-details > .lorchestra-cell-picture { height: 260px; }
.lorchestra-library-wide { position: fixed; inset: 0; z-index: 1000; height: auto; flex-direction: row; }
.lorchestra-library-wide.lorchestra-library-dragging { opacity: 0.25; pointer-events: none; }
.lorchestra-library-details {
  flex: none; display: flex; flex-direction: column; gap: 6px; padding: 8px; max-height: 45cqh; overflow: hidden auto;
  border-top: 1px solid var(--lorchestra-line); scrollbar-width: thin;
}
.lorchestra-library-wide > .lorchestra-library-details {
  width: 320px; max-height: none; border-top: 0; border-inline-start: 1px solid var(--lorchestra-line);
}
.lorchestra-library-title { overflow-wrap: anywhere; }
.lorchestra-library-form, .lorchestra-library-field { display: flex; flex-direction: column; gap: 4px; }
.lorchestra-library-form { gap: 8px; }
.lorchestra-library-field > span { font-size: 11px; color: var(--lorchestra-quiet); }
.lorchestra-library-field > textarea { resize: vertical; }
.lorchestra-library-check { display: flex; align-items: center; gap: 6px; }
.lorchestra-library-buttons { display: flex; flex-wrap: wrap; gap: 6px; }
@container (max-width: 560px) {
  .lorchestra-library .lorchestra-picker-body { flex-direction: column; }
  .lorchestra-library .lorchestra-picker-folders { flex: 0 0 96px; border-inline-end: 0; border-bottom: 1px solid var(--lorchestra-line); }
  .lorchestra-library .lorchestra-picker-foot { flex-direction: column; gap: 2px; }
  .lorchestra-library .lorchestra-picker-foot > :last-child { text-align: start; }
}
`;
