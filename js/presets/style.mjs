// @ts-check
/** The look of the presets. */

export const STYLE = `
.lorchestra-presets { width: 420px; max-width: 100%; display: flex; flex-direction: column; gap: 8px; padding: 10px; }
.lorchestra-presets-head { display: flex; gap: 6px; }
.lorchestra-presets-head input { flex: 1; min-width: 0; }
.lorchestra-presets-list { max-height: min(420px, 50vh); overflow: auto; overscroll-behavior: contain; scrollbar-width: thin; margin: 0; padding: 0; list-style: none; }
.lorchestra-preset { display: grid; grid-template-columns: 56px minmax(0, 1fr) auto; gap: 2px 10px; align-items: center; padding: 6px 2px; }
.lorchestra-preset + .lorchestra-preset { border-top: 1px solid var(--lorchestra-line); }
.lorchestra-preset-picture { width: 56px; height: 56px; border-radius: 6px; object-fit: cover; background: var(--lorchestra-field); display: grid; place-items: center; color: var(--lorchestra-quiet); }
.lorchestra-preset-words { min-width: 0; display: flex; flex-direction: column; gap: 1px; }
.lorchestra-preset-name { font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-preset-line { font-size: 11px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-preset-line.lorchestra-bad { white-space: normal; overflow-wrap: anywhere; }
.lorchestra-preset-buttons { display: flex; gap: 4px; align-items: center; }
.lorchestra-presets .lorchestra-more { width: 24px; height: 24px; display: grid; place-items: center; border: 0; background: none; padding: 0; border-radius: 4px; cursor: pointer; }
.lorchestra-presets .lorchestra-more:hover { background: var(--lorchestra-hover); }
.lorchestra-presets p { margin: 0; overflow-wrap: anywhere; }
.lorchestra-presets-status { display: flex; align-items: center; gap: 8px; }
.lorchestra-presets-quiet { margin-bottom: -8px; }
.lorchestra-presets-status > span { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.lorchestra-preset-form { display: flex; flex-direction: column; gap: 8px; }
.lorchestra-preset-form label { display: flex; flex-direction: column; gap: 3px; }
.lorchestra-preset-form textarea { resize: vertical; min-height: 44px; }
.lorchestra-preset-rows { margin: 0; padding: 4px 8px; border: 1px solid var(--lorchestra-line); border-radius: 6px; max-height: 150px; overflow: auto; scrollbar-width: thin; }
.lorchestra-preset-rows legend { padding: 0 4px; }
.lorchestra-presets .lorchestra-preset-row { flex-direction: row; align-items: center; gap: 6px; min-height: 24px; }
.lorchestra-preset-row span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-preset-picked { display: flex; gap: 8px; align-items: center; }
.lorchestra-preset-end { display: flex; gap: 6px; justify-content: flex-end; }
`;
