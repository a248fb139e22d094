// @ts-check
/** The card's own rules. */

export const STYLE = `
.lorchestra-info { width: 440px; max-width: calc(100vw - 18px); display: flex; flex-direction: column; }
.lorchestra-info-head { display: flex; align-items: flex-start; gap: 8px; padding: 10px 10px 6px 12px; }
.lorchestra-info-names { flex: 1; min-width: 0; display: flex; flex-direction: column; }
.lorchestra-info-title { font-size: 14px; font-weight: 600; overflow-wrap: anywhere; }
.lorchestra-info-folder { overflow-wrap: anywhere; }
.lorchestra-info-body { padding: 2px 12px 12px; overflow: auto; max-height: min(560px, 72vh); }
.lorchestra-info-wait { padding: 16px 0; text-align: center; }
.lorchestra-info-top { display: flex; gap: 12px; }
.lorchestra-info-image {
  width: 120px; height: 160px; flex: none; object-fit: cover; border-radius: 6px; background: var(--lorchestra-field);
}
.lorchestra-info-previews { flex: none; width: 120px; }
.lorchestra-info-frame { min-height: 24px; overflow: hidden; border-radius: 6px; }
.lorchestra-info-turn { display: flex; align-items: center; justify-content: space-between; margin-top: 4px; font-variant-numeric: tabular-nums; }
.lorchestra-info-step { display: grid; place-items: center; width: 28px; height: 24px; padding: 0; }
.lorchestra-info-facts {
  display: grid; grid-template-columns: max-content 1fr; gap: 3px 10px; margin: 0; flex: 1; align-content: start;
  align-items: baseline; min-width: 0;
}
.lorchestra-info-facts dt { color: var(--lorchestra-quiet); }
.lorchestra-info-facts dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.lorchestra-info-mono { font-family: var(--lorchestra-mono); }
.lorchestra-info section { margin-top: 10px; }
.lorchestra-info h3 {
  display: flex; align-items: center; gap: 8px; margin: 0 0 4px; font-size: 12px; font-weight: 600; min-height: 22px;
}
.lorchestra-info h3 > span { flex: 1; }
.lorchestra-info p { margin: 0; }
.lorchestra-info-text {
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 150px; overflow: auto; padding: 6px 8px; border-radius: 6px;
  background: var(--lorchestra-field);
}
.lorchestra-info-words { display: flex; flex-wrap: wrap; gap: 4px; }
.lorchestra-info-word { text-align: start; overflow-wrap: anywhere; padding: 2px 8px; }
.lorchestra-info-small { padding: 1px 8px; min-height: 24px; font-weight: normal; }
.lorchestra-info [data-copied="true"] { border-color: var(--lorchestra-good); }
.lorchestra-info [data-copied="true"]::after { content: " ✓"; color: var(--lorchestra-good); }
.lorchestra-info [data-copied="false"] { border-color: var(--lorchestra-bad); }
.lorchestra-info ul { margin: 0; padding-inline-start: 16px; }
.lorchestra-info details > summary { cursor: pointer; }
.lorchestra-info-line { display: flex; align-items: center; flex-wrap: wrap; gap: 6px; }
.lorchestra-info-blurred { filter: blur(18px); cursor: pointer; }
`;
