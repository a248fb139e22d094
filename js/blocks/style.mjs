// @ts-check
/** How the editor of weights per block looks. */

export const STYLE = `
.lorchestra-blocks-popover { width: 520px; max-width: calc(100vw - 18px); padding: 10px; display: flex; flex-direction: column; gap: 8px; }
.lorchestra-blocks { display: flex; flex-direction: column; gap: 8px; min-width: 0; }
.lorchestra-blocks-head { display: flex; flex-wrap: wrap; align-items: center; gap: 4px; }
.lorchestra-blocks-head strong { flex: 1 1 auto; font-weight: 600; }
.lorchestra-blocks-head .lorchestra-button { height: 24px; padding: 0 8px; display: inline-flex; align-items: center; gap: 4px; }
.lorchestra-blocks-groups { display: flex; flex-wrap: wrap; gap: 8px 10px; max-height: 46vh; overflow-y: auto; scrollbar-width: thin; padding: 1px; }
.lorchestra-blocks-group { display: flex; flex-direction: column; gap: 3px; min-width: 62px; flex: 1 1 auto; }
.lorchestra-blocks-group[data-flat] { flex: 1 1 235px; }
.lorchestra-blocks-group-head { display: flex; align-items: center; gap: 4px; min-height: 24px; min-width: 0; }
.lorchestra-blocks-group-head span { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-blocks input { width: 46px; height: 24px; padding: 0 6px; text-align: end; font-variant-numeric: tabular-nums; }
.lorchestra-blocks-plot {
  position: relative; display: flex; height: 84px; padding: 0 2px; gap: 1px; border-radius: 6px; overflow: hidden; touch-action: none; user-select: none;
  background: var(--lorchestra-field); border: 1px solid var(--lorchestra-line); cursor: ns-resize;
}
.lorchestra-blocks-bar { position: relative; flex: 1 1 0; min-width: 5px; max-width: 26px; }
.lorchestra-blocks-group[data-few] .lorchestra-blocks-bar { max-width: none; }
.lorchestra-blocks-fill { position: absolute; inset-inline: 0; background: var(--lorchestra-accent); border-radius: 1px; min-height: 1px; }
.lorchestra-blocks-bar[data-untouched] .lorchestra-blocks-fill {
  background: repeating-linear-gradient(135deg, var(--lorchestra-quiet) 0 1px, transparent 1px 4px); opacity: 0.75;
}
.lorchestra-blocks-bar:hover { background: var(--lorchestra-hover); }
.lorchestra .lorchestra-blocks-bar:is(:focus, :focus-visible) { outline: 2px solid var(--lorchestra-text); outline-offset: -2px; z-index: 1; }
.lorchestra-blocks-bar[data-selected] .lorchestra-blocks-fill { background: color-mix(in srgb, var(--lorchestra-accent) 55%, var(--lorchestra-text)); }
.lorchestra-blocks-one { position: absolute; inset-inline: 0; height: 0; border-top: 1px dashed var(--lorchestra-quiet); pointer-events: none; opacity: 0.7; }
.lorchestra-blocks-numbers { display: flex; justify-content: space-between; padding: 0 3px; font-size: 10px; font-variant-numeric: tabular-nums; }
.lorchestra-blocks-flat { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 0 12px; }
.lorchestra-blocks-line { display: flex; align-items: center; gap: 6px; min-height: 24px; min-width: 0; }
.lorchestra-blocks-line > span { flex: 0 1 104px; width: 104px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-blocks-line output { flex: none; width: 38px; text-align: end; font-variant-numeric: tabular-nums; }
.lorchestra-blocks-line .lorchestra-blocks-track {
  position: relative; flex: 1; height: 18px; border-radius: 4px; overflow: hidden; touch-action: none; user-select: none; cursor: ew-resize;
  background: var(--lorchestra-field); border: 1px solid var(--lorchestra-line); display: flex;
}
.lorchestra-blocks-line .lorchestra-blocks-bar { max-width: none; height: 100%; }
.lorchestra-blocks-line .lorchestra-blocks-fill { inset-block: 0; inset-inline: auto; min-width: 1px; min-height: 0; }
.lorchestra-blocks-line .lorchestra-blocks-one { inset-block: 0; inset-inline: auto; width: 0; height: auto; border-top: 0; border-inline-start: 1px dashed var(--lorchestra-quiet); }
.lorchestra-blocks-selected { display: flex; align-items: center; gap: 6px; min-height: 24px; min-width: 0; }
.lorchestra-blocks-selected span { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-blocks-others { display: flex; flex-wrap: wrap; align-items: center; gap: 4px; }
.lorchestra-blocks-other { display: inline-flex; align-items: center; gap: 2px; height: 24px; border: 1px solid var(--lorchestra-line); border-radius: 6px; padding-inline-start: 8px; background: var(--lorchestra-field); }
.lorchestra-blocks-other button { width: 24px; height: 22px; border: 0; background: none; cursor: pointer; padding: 0; display: inline-flex; align-items: center; justify-content: center; }
.lorchestra-blocks-notes { display: flex; flex-direction: column; gap: 2px; }
.lorchestra-blocks-notes p { margin: 0; overflow-wrap: anywhere; }
.lorchestra-blocks-text {
  resize: vertical; min-height: 44px; height: 44px; width: 100%; font-family: var(--lorchestra-mono) !important; font-size: 11px !important; line-height: 1.4;
  overflow-wrap: anywhere;
}
.lorchestra-blocks-text[aria-invalid="true"] { border-color: var(--lorchestra-bad); }
`;

export const ICONS = {
  more: "M4 6l4 4 4-4",
  undo: "M5 3.5 2 6.5l3 3M2.5 6.5h7a4 4 0 0 1 0 8H7",
  redo: "M11 3.5l3 3-3 3M13.5 6.5h-7a4 4 0 0 0 0 8H9",
  remove: "M4 4l8 8M12 4l-8 8",
};
