// @ts-check
/** The folders beside the list: all, those at the top, and what is inside the chosen one, each with its number. */

import { create, setAttribute } from "../base/dom.mjs";
import { t } from "../base/words.mjs";
import { createVirtualList } from "./virtual_list.mjs";
import { formatCount } from "../values/numbers.mjs";

const ROW_HEIGHT = 24;

/**
 * @typedef {object} FolderTree
 * @property {HTMLElement} element
 * @property {(folders: Map<string, import("../values/search.mjs").Folder>, counts: Map<string, number>, chosen: string) => void} show
 * @property {() => void} close
 */

/**
 * @param {string} id for elements
 * @param {(folder: string) => void} onChoose
 * @returns {FolderTree}
 */
export function createFolderTree(id, onChoose) {
  /** @type {import("../values/search.mjs").Folder[]} */
  let lines = [];
  /** @type {Map<string, import("../values/search.mjs").Folder>} */
  let folders = new Map();
  /** @type {Map<string, number>} */
  let counts = new Map();
  let chosen = "";

  const list = createVirtualList({
    rowHeight: ROW_HEIGHT,
    class: "lorchestra-picker-folders",
    properties: { role: "tree", "aria-label": t("Folders"), tabIndex: 0 },
    createRow: () => create("div", { class: "lorchestra-picker-folder", role: "treeitem" },
      create("span", { class: "lorchestra-picker-folder-name", dir: "auto" }),
      create("span", { class: "lorchestra-quiet" })),
    showRow(row, index) {
      const folder = lines[index];
      const [name, count] = row.children;
      const isChosen = folder.path === chosen;
      row.id = `${id}-folder-${index}`;
      row.title = folder.path || t("All folders");
      row.style.paddingInlineStart = `${8 + 12 * Math.max(folder.depth, 0)}px`;
      name.textContent = folder.path ? folder.name : t("All");
      count.textContent = formatCount(counts.get(folder.path) ?? 0);
      row.classList.toggle("lorchestra-picker-chosen", isChosen);
      setAttribute(row, "aria-selected", isChosen);
      setAttribute(row, "aria-level", folder.depth < 0 ? 1 : folder.depth + 1);
      setAttribute(row, "aria-expanded", folder.path && folder.children.length ? isOpen(folder.path) : null);
    },
  });

  /** @param {string} path */
  const isOpen = (path) => chosen.startsWith(path);

  /**
   * @param {import("../values/search.mjs").Folder | undefined} folder
   * @param {import("../values/search.mjs").Folder[]} result
   */
  const collect = (folder, result) => {
    if (!folder) return result;
    // A folder without hits is left out, unless the chosen one is in it.
    if (folder.path && !counts.get(folder.path) && !isOpen(folder.path)) return result;
    result.push(folder);
    if (!folder.path || isOpen(folder.path)) for (const child of folder.children) collect(folders.get(child), result);
    return result;
  };

  const showChosen = () => {
    const index = lines.findIndex((folder) => folder.path === chosen);
    if (index >= 0) list.reveal(index);
    setAttribute(list.element, "aria-activedescendant", index < 0 ? null : `${id}-folder-${index}`);
  };

  list.element.addEventListener("click", (event) => {
    const folder = lines[list.indexOf(event.target)];
    if (folder) onChoose(folder.path);
  });
  list.element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = lines.findIndex((folder) => folder.path === chosen);
    const here = lines[at];
    const keys = {
      ArrowDown: lines[at + 1], ArrowUp: lines[at - 1], Home: lines[0], End: lines[lines.length - 1],
      ArrowLeft: here && folders.get(here.parent), ArrowRight: here && folders.get(here.children[0]),
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    event.stopPropagation();
    const next = keys[/** @type {keyof typeof keys} */ (event.key)];
    if (next) onChoose(next.path);
  });

  return {
    element: list.element,
    show(newFolders, newCounts, newChosen) {
      [folders, counts, chosen] = [newFolders, newCounts, newChosen];
      lines = collect(folders.get(""), []);
      list.element.hidden = folders.size < 2;
      list.show(lines.length);
      showChosen();
    },
    close: list.close,
  };
}
