// @ts-check
/** The look of the dialog about missing LoRAs, and of the notice that leads to it. */

export const STYLE = `
.lorchestra-missing {
  width: min(680px, calc(100vw - 32px)); max-height: min(80vh, 760px); padding: 0; border-radius: 10px; overflow: hidden;
  background: var(--lorchestra-surface); border: 1px solid var(--lorchestra-line); box-shadow: 0 12px 40px rgb(0 0 0 / 50%);
}
.lorchestra-missing[open] { display: flex; flex-direction: column; }
.lorchestra-missing:focus { outline: none; }
.lorchestra-missing::backdrop { background: rgb(0 0 0 / 45%); }
.lorchestra-missing-head { display: flex; align-items: flex-start; gap: 12px; padding: 14px 16px 10px; }
.lorchestra-missing-head > div { flex: 1; min-width: 0; }
.lorchestra-missing h2 { margin: 0 0 2px; font-size: 15px; font-weight: 600; }
.lorchestra-missing-close { flex: none; border: 0; background: none; padding: 4px; border-radius: 5px; cursor: pointer; display: grid; }
.lorchestra-missing-close:hover { background: var(--lorchestra-hover); }
.lorchestra-missing-rows {
  flex: 1; min-height: 0; overflow: auto; overscroll-behavior: contain; scrollbar-width: thin; margin: 0; padding: 0 16px; list-style: none;
}
.lorchestra-missing-row { padding: 10px 0; border-top: 1px solid var(--lorchestra-line); }
.lorchestra-missing-title { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 10px; }
.lorchestra-missing-name { font-weight: 600; overflow-wrap: anywhere; min-width: 0; unicode-bidi: isolate; }
.lorchestra-missing-where { font-size: 11px; margin-inline-start: auto; }
.lorchestra-missing-row p { margin: 4px 0 0; overflow-wrap: anywhere; }
.lorchestra-missing dl { margin: 6px 0 0; display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 2px 10px; }
.lorchestra-missing dd { margin: 0; overflow-wrap: anywhere; user-select: text; }
.lorchestra-missing dd:not(:has(a, span)) { font-family: var(--lorchestra-mono); font-size: 11px; }
.lorchestra-missing a { color: var(--lorchestra-accent); }
.lorchestra-missing-files { margin: 6px 0 0; padding: 0; list-style: none; display: flex; flex-direction: column; gap: 4px; }
.lorchestra-missing-file { display: flex; align-items: center; gap: 10px; padding: 4px 8px; border-radius: 6px; background: var(--lorchestra-field); }
.lorchestra-missing-file > span { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.lorchestra-missing-file > button { flex: none; }
.lorchestra-missing-row > .lorchestra-button { margin-top: 6px; }
.lorchestra-missing-foot {
  display: flex; flex-wrap: wrap; align-items: center; gap: 8px; padding: 10px 16px 14px; border-top: 1px solid var(--lorchestra-line);
}
.lorchestra-missing-progress { display: flex; flex: 1 1 100%; align-items: center; gap: 8px; min-width: 0; }
.lorchestra-missing-progress > span { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.lorchestra-missing-progress progress { flex: none; width: 140px; height: 8px; accent-color: var(--lorchestra-accent); }
.lorchestra-missing-last { margin-inline-start: auto; }

.lorchestra-notice {
  position: fixed; z-index: 1000; top: 64px; left: 50%; transform: translateX(-50%); max-width: min(560px, calc(100vw - 32px));
  display: flex; align-items: center; gap: 10px; padding: 8px 8px 8px 14px; border-radius: 8px; background: var(--lorchestra-surface);
  border: 1px solid var(--lorchestra-line); box-shadow: 0 8px 28px rgb(0 0 0 / 45%);
}
.lorchestra-notice-picture { flex: none; display: grid; color: var(--lorchestra-bad); }
.lorchestra-notice-text { min-width: 0; overflow-wrap: anywhere; }
`;
