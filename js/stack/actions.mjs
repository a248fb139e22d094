// @ts-check
/** What the rows and the head ask for: edits, with the focus kept; and the pop-ups and menus. */

import { rootOf } from "../base/graph.mjs";
import { writeToClipboard } from "../base/clipboard.mjs";
import { tell } from "../base/toast.mjs";
import { openMenu } from "../base/popup.mjs";
import { t } from "../base/words.mjs";
import { copyAs, readPasted } from "../exchange/clipboard.mjs";
import { lorasIn, readDropped } from "../exchange/drop.mjs";
import { rowsInClipboard } from "../exchange/paste.mjs";
import { showMissing } from "../missing/missing.mjs";
import { itemsOf } from "../values/groups.mjs";
import { adopting } from "../values/identity.mjs";
import { MAX_ROWS } from "../values/limits.mjs";
import { formatCount, rounded } from "../values/numbers.mjs";
import { problemsOf } from "../values/problems.mjs";
import { MISSING, NOTHING, usedFile } from "../values/verdicts.mjs";
import { blocksOf } from "../values/blocks.mjs";
import { isChosen, toggledWord } from "../values/triggers.mjs";
import { defaultsOf, newRows } from "./defaults.mjs";
import { dragRow } from "./drag.mjs";
import { openExplanation } from "./explain.mjs";
import { fixItems } from "./fix.mjs";
import { focusedPart, focusRow } from "./focus.mjs";
import { pickInWords } from "./group.mjs";
import { insertWords } from "./insert.mjs";
import { listItems, rowItems } from "./menus.mjs";

/**
 * @typedef {object} List
 * @property {import("./list.mjs").Host} host
 * @property {import("./state.mjs").ListState} state
 * @property {import("./edits.mjs").Edits} edits
 * @property {import("./view.mjs").ListView} view
 */

/** @param {List} list */
export function createActions({ host, state, edits, view }) {
  const { comfy } = host;

  // Edits
  /** @param {number} index */
  const remove = (index) => {
    const part = focusedPart();
    edits.remove(index);
    focusRow(view, index, part);
  };
  /** @param {number} index @param {number} to */
  const move = (index, to) => {
    const items = itemsOf(state.stack);
    const at = items.findIndex(({ row }) => row === index) + to - index;
    if (to === index || at < 0 || at >= items.length) return;
    drop(index, at);
  };
  /** @param {number} index @param {number} at its place among the items of the list */
  const drop = (index, at) => {
    const { to, group } = edits.placeAt(index, at);
    if (to === index && group === (state.rows[index].group ?? undefined)) return;
    const part = focusedPart();
    edits.move(index, to, group ?? null);
    focusRow(view, to, part);
  };
  /** @param {number} index of a row, which is put into a new group */
  const addGroup = (index) => {
    const name = edits.addGroup(index, t("Group {number}", { number: state.groups.length + 1 }));
    view.groups.get(name)?.rename();
  };
  /**
   * Lets a row name a file that it may mean; its own file, which has changed, is then meant as it is now.
   * @param {number} index
   * @param {import("../values/verdicts.mjs").Candidate} file
   */
  const use = (index, file) => edits.change(index, adopting(state.rows[index], file));
  /** @param {number} index */
  const duplicate = (index) => {
    edits.duplicate(index);
    focusRow(view, index + 1);
  };
  /** @param {string[]} loras @returns {boolean} whether there was room for them */
  const add = (loras) => {
    if (state.rows.length + loras.length > MAX_ROWS) {
      tell(comfy.app, "warn", t("A stack has at most {count} rows", { count: formatCount(MAX_ROWS) }));
      return false;
    }
    edits.add(newRows(comfy.app, loras));
    // The button that adds the first one is gone then, and the focus with it.
    if (document.activeElement === document.body) focusRow(view, state.rows.length - 1);
    const list = view.parts?.list;
    list?.scrollTo?.(0, list.scrollHeight);
    return true;
  };
  const toggleText = () => {
    edits.toggleText();
    if (state.asText) view.parts?.text.focus({ preventScroll: true });
  };

  // Trigger words
  /** @param {number} index */
  const showWords = (index) => {
    const { lora } = state.rows[index];
    edits.showWords([lora], !state.open.has(lora));
  };
  /** @param {number} index @param {string} word */
  const chooseWord = (index, word) =>
    edits.change(index, { triggers: toggledWord(state.rows[index], state.badges[index]?.words ?? [], word) });
  /** @param {string[]} words */
  const insert = async (words) => insertWords(comfy.app, rootOf(comfy.app), await host.prompt(), words);

  // Pop-ups; their code is loaded when they are opened first
  /** @type {ReturnType<typeof import("../picker/picker.mjs").openPicker> | undefined} the one that is open */
  let picker;
  /** @param {HTMLElement} anchor @param {Pick<Parameters<typeof import("../picker/picker.mjs").openPicker>[1], "current" | "like" | "onChoose" | "onAdd">} options */
  const pick = async (anchor, options) => {
    const { openPicker } = await import("../picker/picker.mjs");
    const mine = picker = openPicker(comfy, {
      anchor, model: host.model(), ...options, onClose: () => { if (picker === mine) picker = undefined; },
    });
  };
  /** @param {number} index @param {HTMLElement} [anchor] */
  const pickFor = (index, anchor = view.partOf(index, ".lorchestra-name")) =>
    pick(anchor, { current: state.rows[index].lora, onChoose: (lora) => name(index, lora) });
  /** @param {number} index @param {string} lora that was picked for the row */
  const name = (index, lora) => {
    edits.change(index, { lora, sha256: undefined, air: undefined, triggers: undefined });
    focusRow(view, index);
  };
  /**
   * The same with what is likely in the row's place first: what it may be, and what is named nearly so and fits.
   * @param {number} index
   * @param {HTMLElement} [anchor]
   * @param {() => void} [then] called after something was chosen
   */
  const replace = (index, anchor = view.partOf(index, ".lorchestra-name"), then) => {
    const candidates = state.badges[index]?.candidates ?? [];
    return pick(anchor, {
      like: { lora: state.rows[index].lora, known: candidates.map((file) => file.name) },
      onChoose(lora) {
        const file = candidates.find((one) => one.name === lora);
        if (file) use(index, file);
        else name(index, lora);
        focusRow(view, index);
        then?.();
      },
    });
  };
  /** @param {number[]} rows that are replaced, until somebody chooses nothing */
  const replaceAll = ([first, ...rest]) => {
    if (first === undefined || !state.rows[first]) return;
    reveal(first);
    void replace(first, undefined, () => replaceAll(rest));
  };
  /** @param {number} index @param {string} [part] of the row that gets the focus */
  const reveal = (index, part) => {
    if (state.isCollapsed) edits.toggleCollapsed();
    focusRow(view, index, part);
  };
  /** @param {number[]} rows */
  const turnOff = (rows) => {
    edits.changeAll(new Map(rows.map((index) => [index, { on: false }])));
    focusRow(view, rows[0], ".lorchestra-switch");
  };
  /** @param {number} index @param {HTMLElement} anchor @param {boolean} [searches] whether all files are searched at once */
  const explain = (index, anchor, searches) => openExplanation(comfy, {
    anchor, row: state.rows[index], badge: state.badges[index] ?? NOTHING, searches,
    onChoose: (file) => use(index, file),
    onPick: () => void pickFor(index),
    onInfo: () => void openInfo(index),
  });
  /** @param {number} index @param {HTMLElement} [anchor] */
  const openSchedule = async (index, anchor = view.partOf(index, ".lorchestra-schedule")) => {
    const { openCurve } = await import("../curve/popover.mjs");
    const setSchedule = (/** @type {string} */ text) => edits.changeLive(index, { schedule: text.trim() ? text : undefined });
    openCurve(comfy, {
      anchor, text: state.rows[index].schedule ?? "", node: host.node,
      onChange: setSchedule,
      onCommit: (text) => {
        setSchedule(text);
        edits.settle();
      },
      onClose: edits.settle,
    });
  };
  /** @param {number} index @param {HTMLElement} [anchor] */
  const openBlockWeights = async (index, anchor = view.partOf(index, ".lorchestra-name")) => {
    const { openBlocks } = await import("../blocks/popover.mjs");
    const row = state.rows[index];
    const setBlocks = (/** @type {import("../values/blocks.mjs").Blocks} */ blocks) =>
      edits.changeLive(index, { blocks: Object.keys(blocks).length ? blocks : undefined });
    openBlocks(comfy, {
      anchor, blocks: blocksOf(row), layout: () => host.blocks(row),
      onChange: setBlocks,
      onCommit: (blocks) => {
        setBlocks(blocks);
        edits.settle();
      },
      onClose: edits.settle,
    });
  };
  /** @param {number} index */
  const openInfo = async (index) => {
    const { openInfoCard } = await import("../info/card.mjs");
    const row = state.rows[index];
    openInfoCard(comfy, {
      anchor: view.partOf(index, ".lorchestra-name"), lora: row.lora, row, onChange: (changes) => edits.change(index, changes),
    });
  };

  // Menus
  /** @param {number} index @param {import("../base/popup.mjs").Anchor} anchor */
  const openRowMenu = (index, anchor) => openMenu({
    anchor, label: t("LoRA {number}", { number: index + 1 }),
    items: rowItems({
      row: state.rows[index], index, count: state.rows.length,
      change: (changes) => edits.change(index, changes),
      toggle: () => edits.toggle(index),
      duplicate: () => duplicate(index),
      move: (to) => move(index, to),
      remove: () => remove(index),
      schedule: () => void openSchedule(index),
      blocks: () => void openBlockWeights(index),
      info: () => void openInfo(index),
      groups: groupItems(index),
      pick: () => void pickFor(index),
      copy: () => void copyAs(comfy, [state.flat[index]], "json"),
      open: state.open.has(state.rows[index].lora),
      showWords: () => showWords(index),
      used: usedFile(state.badges[index])?.name,
      useName: () => {
        const used = usedFile(state.badges[index]);
        if (used) use(index, used);
      },
    }),
  });
  /** @param {number} index @param {string} word @param {import("../base/popup.mjs").Anchor} anchor */
  const openWordMenu = (index, word, anchor) => openMenu({
    anchor, label: word,
    items: [
      { label: t("Chosen"), checked: isChosen(state.rows[index], word), run: () => chooseWord(index, word) },
      { label: t("Insert into prompt"), run: () => void insert([word]) },
      { label: t("Copy"), run: () => void writeToClipboard(word) },
    ],
  });
  /** @param {number} index @returns {import("../base/popup.mjs").Item[]} the groups that a row may be in */
  const groupItems = (index) => [
    { label: t("None"), checked: state.rows[index].group == null, run: () => edits.setGroup(index, undefined) },
    ...state.groups.map(({ name }) => ({ label: name, checked: state.rows[index].group === name, run: () => edits.setGroup(index, name) })),
    { label: t("New group"), run: () => addGroup(index) },
  ];
  /** @param {string} name @param {import("../base/popup.mjs").Anchor} anchor */
  const openGroupMenu = (name, anchor) => {
    const group = state.groups.find((one) => one.name === name);
    if (!group) return;
    const setPick = (/** @type {"all" | "one" | "next"} */ pick) => {
      host.control(pick);
      edits.changeGroup(name, { pick: pick === "all" ? undefined : pick });
    };
    openMenu({
      anchor, label: t("Group {name}", { name }),
      items: [
        { label: t("On"), checked: group.on !== false, run: () => toggleGroup(name) },
        { label: t("Rename…"), run: () => view.groups.get(name)?.rename() },
        "-",
        ...(/** @type {const} */ (["all", "one", "next"])).map((pick) => ({
          label: t("Use {which}", { which: pickInWords(pick) }), checked: (group.pick ?? "all") === pick, run: () => setPick(pick),
        })),
        "-",
        { label: t("Ungroup"), title: t("Its rows stay, with the weights that they have themselves"), run: () => edits.ungroup(name) },
        { label: t("Remove with its rows"), danger: true, run: () => edits.removeGroup(name) },
      ],
    });
  };
  /** @param {string} name */
  const toggleGroup = (name) => {
    const isOn = state.groups.find((one) => one.name === name)?.on !== false;
    edits.changeGroup(name, { on: isOn ? false : undefined });
  };
  /** @param {HTMLElement} anchor */
  const openFixMenu = (anchor) => openMenu({
    anchor, label: t("Fix…"),
    items: fixItems({
      rows: state.rows, badges: state.badges, problems: problemsOf(state.flat, state.badges),
      use: (choices) => {
        edits.changeAll(new Map(choices.map(({ index, file }) => [index, adopting(state.rows[index], file)])));
        reveal(choices[0].index);
      },
      turnOff,
      replace: replaceAll,
      show: (index) => reveal(index, ".lorchestra-badge"),
      showMissing: () => void showMissing(comfy),
    }),
  });
  /** @param {HTMLElement} anchor */
  const openPresetsAt = async (anchor) => {
    const { openPresets } = await import("../presets/popover.mjs");
    openPresets(comfy, {
      anchor, node: host.node, stack: state.stack,
      take: (rows, where) => {
        if (where !== "all" && state.rows.length + rows.rows.length > MAX_ROWS) {
          tell(comfy.app, "warn", t("A stack has at most {count} rows", { count: formatCount(MAX_ROWS) }));
        } else if (where === "all") edits.replaceWhole(rows);
        else edits.join(rows, where === "start");
      },
    });
  };
  /** @param {HTMLElement} anchor */
  const openListMenu = (anchor) => {
    const { open, rows, stack, isText, isCollapsed } = state;
    const loras = rows.map(({ lora }) => lora);
    const allOpen = loras.length > 0 && loras.every((lora) => open.has(lora));
    const missing = rows.map((_, index) => state.badges[index]?.state === MISSING);
    openMenu({
      anchor, label: t("All LoRAs"),
      items: listItems({
        rows, readable: stack.error === "", asText: isText, collapsed: isCollapsed, missing: missing.filter(Boolean).length,
        setRows: edits.replace,
        toggleText,
        toggleCollapsed: edits.toggleCollapsed,
        presets: () => void openPresetsAt(anchor),
        paste: async () => edits.join(await rowsInClipboard(comfy)),
        copyAs: (dialect) => void copyAs(comfy, dialect === "json" ? state.rows : state.flat, dialect, anchor, state.stack.more),
        open: allOpen,
        showWords: () => edits.showWords(loras, !allOpen),
        removeMissing: () => edits.removeAll((index) => missing[index]),
        showMissing: () => void showMissing(comfy),
        identify: async () => {
          const { openIdentify } = await import("../missing/identify.mjs");
          openIdentify(comfy, anchor);
        },
      }),
    });
  };

  return {
    remove, move, duplicate,
    /** Tells the picker that is open which model the rows are for: when it was opened, that may not have been known. */
    noticeModel: () => picker?.setModel(host.model()),
    /** @param {string} text that was pasted onto the list */
    pasteText: async (text) => edits.join((await readPasted(comfy, text)) ?? { rows: [], more: {} }),
    /** @param {DragEvent} event with LoRAs of the library */
    dropLoras: (event) => add(lorasIn(event)),
    /** @param {DragEvent} event with pictures */
    dropPictures: (event) => readDropped(comfy, event, edits.append),
    /** @type {import("./view.mjs").HeadActions} */
    head: {
      toggleAll: edits.toggleAll,
      toggleCollapsed: edits.toggleCollapsed,
      showList: () => {
        edits.settle();
        toggleText();
      },
      add: (anchor) => void pick(anchor, { onChoose: (lora) => void add([lora]), onAdd: add }),
      menu: openListMenu,
      fix: openFixMenu,
    },
    /** @type {import("./row.mjs").RowActions} */
    row: {
      toggle: edits.toggle,
      pick: (index, anchor) => void pickFor(index, anchor),
      use: (index, file) => {
        use(index, file);
        focusRow(view, index);
      },
      schedule: (index, anchor) => void openSchedule(index, anchor),
      blocks: (index) => void openBlockWeights(index),
      explain,
      turnOff: (index) => turnOff([index]),
      replace: (index, anchor) => void replace(index, anchor),
      find: (index, anchor) => explain(index, anchor, true),
      menu: openRowMenu,
      showWords, chooseWord,
      wordMenu: openWordMenu,
      insertWords: (words) => void insert(words),
      lift: (index, event) => {
        if (view.parts) dragRow({ event, list: view.parts.list, onDrop: (to) => drop(index, to) });
      },
      weigh: (index, key, weight, live) => {
        if (!state.rows[index]) return;
        if (live) edits.changeLive(index, { [key]: weight });
        else edits.change(index, { [key]: weight });
      },
      reset: (index, key) => edits.change(index, { [key]: rounded(defaultsOf(comfy.app).weight) }),
      settle: edits.settle,
      step: () => defaultsOf(comfy.app).step,
    },
    /** @type {import("./group.mjs").GroupActions} */
    group: {
      toggle: toggleGroup,
      fold: (name) => edits.changeGroup(name, { folded: state.groups.find((one) => one.name === name)?.folded ? undefined : true }),
      multiply: (name, factor, live) => (live ? edits.changeGroupLive : edits.changeGroup)(name, { factor: factor === 1 ? undefined : factor }),
      settle: edits.settle,
      step: () => defaultsOf(comfy.app).step,
      rename: (name, next) => edits.renameGroup(name, next),
      menu: openGroupMenu,
    },
  };
}

/** @typedef {ReturnType<typeof createActions>} Actions */
