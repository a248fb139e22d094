// @ts-check
/** The look of the panel in which a workflow is published. */

export const WIDTH = 440; // of the panel, in pixels

export const STYLE = `
.lorchestra-publish {
  position: fixed; z-index: 1000; top: 100px; right: 8px; bottom: 8px; width: min(${WIDTH}px, calc(100vw - 16px)); display: flex;
  flex-direction: column; border-radius: 10px; overflow: hidden; background: var(--lorchestra-surface);
  border: 1px solid var(--lorchestra-line); box-shadow: 0 8px 28px rgb(0 0 0 / 45%);
}
@media (max-height: 640px) { .lorchestra-publish { top: 8px; } }
.lorchestra-publish h2 { flex: 1; margin: 0; font-size: 15px; font-weight: 600; }
.lorchestra-publish-head { display: flex; align-items: center; gap: 8px; padding: 10px 10px 4px 14px; }
.lorchestra-publish-icon {
  flex: none; width: 22px; height: 22px; display: grid; place-items: center; border: 0; border-radius: 5px; padding: 0; background: none;
  color: var(--lorchestra-quiet); cursor: pointer;
}
.lorchestra-publish-icon:hover:not(:disabled) { background: var(--lorchestra-hover); color: var(--lorchestra-text); }
.lorchestra-publish-icon:disabled { opacity: 0.35; cursor: default; }
.lorchestra-publish-scroll { flex: 1; min-height: 0; overflow: auto; overscroll-behavior: contain; scrollbar-width: thin; padding: 4px 14px 14px; }
.lorchestra-publish-field { display: flex; flex-direction: column; gap: 3px; margin-top: 8px; min-width: 0; }
.lorchestra-publish-field > span, .lorchestra-publish-field > label { font-size: 11px; color: var(--lorchestra-quiet); }
.lorchestra-publish :is(input, textarea, select).lorchestra-field { width: 100%; }
.lorchestra-publish ::placeholder { color: var(--lorchestra-quiet); opacity: 1; font-style: italic; }
.lorchestra-publish textarea { resize: vertical; min-height: 44px; line-height: 1.4; }
.lorchestra-publish [aria-invalid="true"] { border-color: var(--lorchestra-bad); }
.lorchestra-publish-pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 8px; }
.lorchestra-publish-check { display: flex; align-items: center; gap: 6px; margin-top: 8px; }
.lorchestra-publish-check input { accent-color: var(--lorchestra-accent); }
.lorchestra-publish-says { margin: 10px 0 0; overflow-wrap: anywhere; }
.lorchestra-publish-says[role="status"] { min-height: 1.35em; }
.lorchestra-publish-says:not([role="status"]):empty { display: none; }
.lorchestra-publish-buttons { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; margin-top: 10px; }
.lorchestra-publish-main { font-weight: 600; border-color: var(--lorchestra-accent); }
.lorchestra-publish-url { display: flex; gap: 6px; margin-top: 8px; align-items: center; }
.lorchestra-publish-url input { font-family: var(--lorchestra-mono); font-size: 11px; }
.lorchestra-publish-tabs { display: flex; gap: 2px; margin: 14px 0 0; border-bottom: 1px solid var(--lorchestra-line); }
.lorchestra-publish-tab {
  padding: 5px 10px; border: 0; border-bottom: 2px solid transparent; background: none; color: var(--lorchestra-quiet); cursor: pointer;
}
.lorchestra-publish-tab[aria-selected="true"] { color: var(--lorchestra-text); border-bottom-color: var(--lorchestra-accent); }
.lorchestra-publish-notes { margin: 8px 0 0; padding: 0 0 0 16px; }
.lorchestra-publish-notes li { overflow-wrap: anywhere; }
.lorchestra-publish-rows { margin: 6px 0 0; padding: 0; list-style: none; }
.lorchestra-publish-row { padding: 5px 0; border-bottom: 1px solid var(--lorchestra-line); }
.lorchestra-publish-line { display: flex; align-items: center; gap: 2px; min-width: 0; }
.lorchestra-publish-open {
  flex: 1; min-width: 0; display: flex; align-items: center; gap: 6px; padding: 2px 4px 2px 0; border: 0; border-radius: 5px; background: none;
  text-align: start; cursor: pointer;
}
.lorchestra-publish-open:hover { background: var(--lorchestra-hover); }
.lorchestra-publish-open svg { flex: none; transition: transform 100ms; }
.lorchestra-publish-open[aria-expanded="true"] svg { transform: rotate(90deg); }
.lorchestra-publish-name { font-family: var(--lorchestra-mono); font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-publish-what { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 11px; }
.lorchestra-publish-under { display: flex; gap: 8px; padding-left: 20px; font-size: 11px; min-width: 0; }
.lorchestra-publish-node {
  min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; padding: 0 2px; border: 0; background: none; border-radius: 4px;
  color: var(--lorchestra-quiet); font-size: 11px; text-decoration: underline dotted; cursor: pointer;
}
.lorchestra-publish-node:hover { color: var(--lorchestra-text); }
.lorchestra-publish-out > .lorchestra-publish-line .lorchestra-publish-name { text-decoration: line-through; color: var(--lorchestra-quiet); }
.lorchestra-publish-row > p, .lorchestra-publish-problem { margin: 3px 0 0 20px; overflow-wrap: anywhere; }
.lorchestra-publish-more { padding: 0 4px 6px 20px; }
.lorchestra-publish-add { margin-top: 10px; }
.lorchestra-publish-form .lorchestra-publish-problem { margin-left: 0; }
.lorchestra-publish-form > .lorchestra-publish-buttons {
  position: sticky; bottom: -14px; margin: 10px 0 0; padding: 8px 0; background: var(--lorchestra-surface);
}
.lorchestra-publish-lora { display: grid; grid-template-columns: minmax(0, 1fr) 76px auto; gap: 6px; align-items: center; margin-top: 4px; }
.lorchestra-publish-lora > button:first-child { text-align: start; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lorchestra-publish-beside { display: flex; gap: 6px; align-items: center; }
.lorchestra-publish-beside > :first-child { flex: 1; min-width: 0; }
.lorchestra-publish-progress { display: flex; align-items: center; gap: 8px; margin-top: 10px; }
.lorchestra-publish-progress progress { flex: 1; min-width: 60px; height: 8px; accent-color: var(--lorchestra-accent); }
.lorchestra-publish-results { display: flex; flex-direction: column; gap: 10px; margin: 10px 0 0; padding: 0; list-style: none; }
.lorchestra-publish-results :is(img, video) { display: block; max-width: 100%; max-height: 60vh; border-radius: 6px; }
.lorchestra-publish-results audio { width: 100%; }
.lorchestra-publish-results pre {
  margin: 0; max-height: 240px; overflow: auto; padding: 6px 8px; border-radius: 6px; background: var(--lorchestra-field);
  font: 11px/1.4 var(--lorchestra-mono); white-space: pre-wrap; overflow-wrap: anywhere; user-select: text;
}
.lorchestra-publish-results a { color: var(--lorchestra-accent); overflow-wrap: anywhere; }
`;

/** Pictures, as paths in a box of 16 × 16. */
export const ICONS = {
  cross: "M4 4l8 8M12 4l-8 8",
  closed: "M6 4l4 4-4 4",
  up: "M8 12.5v-9M4 7l4-4 4 4",
  down: "M8 3.5v9M4 9l4 4 4-4",
  shown: "M1.5 8s2.5-4.5 6.5-4.5S14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  hidden: "M1.5 8s2.5-4.5 6.5-4.5S14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM2.5 13.5l11-11",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  dice: "M3 3h10v10H3zM5.8 5.8h.01M10.2 5.8h.01M8 8h.01M5.8 10.2h.01M10.2 10.2h.01",
};
