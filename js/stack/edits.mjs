// @ts-check
/** Every change of the rows: each makes a new text for the host, nearly always as one step of undo. No DOM. */

import { freeName, joined, placeAt, tidied } from "../values/groups.mjs";
import { changed, isOn, moved, writeStack } from "../values/stack.mjs";

/**
 * @typedef {import("../values/stack.mjs").Row} Row
 * @typedef {import("../values/stack.mjs").Changes} Changes
 * @typedef {import("./state.mjs").ListState} ListState
 */

/**
 * @typedef {object} Target where edits go
 * @property {() => string} read the value
 * @property {(text: string) => void} write takes a value that may still change
 * @property {(change: () => void) => void} step makes one step of undo out of a change
 */

/**
 * @param {ListState} state
 * @param {Target} target
 * @param {() => void} render shows the host's value
 */
export function createEdits(state, target, render) {
  /** @param {string} text */
  const put = (text) => {
    if (text === target.read()) return;
    target.write(text);
    render();
  };
  /**
   * One edit of the rows, and one step of undo.
   * @param {(rows: Row[]) => Row[]} change
   * @param {Record<string, unknown>} [more] keys beside the rows
   */
  const edit = (change, more = state.stack.more) => {
    if (state.stack.error) return;
    state.unsettled = false;
    const tidy = tidied(change(state.rows), more);
    target.step(() => put(writeStack({ ...state.stack, more: tidy.more }, tidy.rows)));
  };
  /** @param {Row[]} rows @param {number} index @param {Changes} changes */
  const withChanges = (rows, index, changes) => rows.map((row, at) => (at === index ? changed(row, changes) : row));
  /** @param {number} index @param {Changes} changes */
  const change = (index, changes) => edit((rows) => withChanges(rows, index, changes));

  /** @param {string} name @param {Record<string, unknown>} changes */
  const withGroup = (name, changes) =>
    ({ ...state.stack.more, groups: state.groups.map((group) => (group.name === name ? changedGroup(group, changes) : group)) });

  return {
    change,
    /** @param {string} name @param {Record<string, unknown>} changes of the group; undefined takes a key away */
    changeGroup: (name, changes) => edit((rows) => rows, withGroup(name, changes)),
    /** The same, as long as it may go on. @param {string} name @param {Record<string, unknown>} changes */
    changeGroupLive(name, changes) {
      put(writeStack({ ...state.stack, more: withGroup(name, changes) }, state.rows));
      state.unsettled = true;
    },
    /** @param {string} name @param {string} wanted */
    renameGroup(name, wanted) {
      const next = freeName(wanted, state.groups.filter((group) => group.name !== name));
      edit((rows) => rows.map((row) => (row.group === name ? changed(row, { group: next }) : row)), withGroup(name, { name: next }));
    },
    /** Puts a row into a group, at its end, or out of its own. @param {number} index @param {string | undefined} name */
    setGroup(index, name) {
      const last = state.rows.findLastIndex((row) => row.group === name && name !== undefined);
      const own = state.rows[index].group;
      const end = name !== undefined ? last : state.rows.findLastIndex((row) => row.group === own);
      this.move(index, end < 0 ? index : end > index ? end : end + 1, name);
    },
    /** @param {number} index a row, which is put into a new group @param {string} name @returns {string} the group's name */
    addGroup(index, name) {
      const free = freeName(name, state.groups);
      edit((rows) => withChanges(rows, index, { group: free }), { ...state.stack.more, groups: [...state.groups, { name: free }] });
      return free;
    },
    /** Takes the rows out of their group. @param {string} name */
    ungroup: (name) => edit((rows) => rows.map((row) => (row.group === name ? changed(row, { group: undefined }) : row))),
    /** @param {string} name of a group, which goes with its rows */
    removeGroup(name) {
      state.badges = state.badges.filter((_, at) => state.rows[at]?.group !== name);
      edit((rows) => rows.filter((row) => row.group !== name));
    },
    /**
     * Rows with their groups, behind those that are there, or before them.
     * @param {Pick<import("../values/stack.mjs").Stack, "rows" | "more">} other
     * @param {boolean} [first]
     */
    join(other, first = false) {
      if (!other.rows.length || state.stack.error) return;
      const both = joined(state.stack, other);
      const count = state.rows.length;
      edit(() => (first ? [...both.rows.slice(count), ...both.rows.slice(0, count)] : both.rows), both.more);
    },
    /** Rows with their groups, in place of all. @param {Pick<import("../values/stack.mjs").Stack, "rows" | "more">} other */
    replaceWhole(other) {
      const both = joined({ rows: [], more: { ...state.stack.more, groups: undefined } }, other);
      edit(() => both.rows, both.more);
    },
    /** The place where a row goes that is moved among the items of the list. @param {number} index @param {number} to */
    placeAt: (index, to) => placeAt(state.stack, index, to),
    /** A change that may go on: not a step of undo yet. @param {number} index @param {Changes} changes */
    changeLive(index, changes) {
      put(writeStack(state.stack, withChanges(state.rows, index, changes)));
      state.unsettled = true;
    },
    /** @param {string} text as the user is typing it: not a step of undo yet */
    type(text) {
      state.asText = true;
      put(text);
      state.unsettled = true;
    },
    /** Makes one step of undo out of what was changed live. */
    settle() {
      if (!state.unsettled) return;
      state.unsettled = false;
      target.step(() => {});
    },

    /** @param {ReadonlyMap<number, Changes>} changes by row, as one step */
    changeAll: (changes) => edit((rows) => rows.map((row, at) => changed(row, changes.get(at) ?? {}))),

    /** @param {number} index */
    toggle: (index) => change(index, { on: isOn(state.rows[index]) ? false : undefined }),
    /** Switches all rows on, or off where all are on. */
    toggleAll() {
      const on = !state.rows.every(isOn);
      edit((rows) => rows.map((row) => changed(row, { on: on ? undefined : false })));
    },
    /** @param {number} index */
    remove(index) {
      state.badges = state.badges.filter((_, at) => at !== index);
      edit((rows) => rows.filter((_, at) => at !== index));
    },
    /** @param {(index: number) => boolean} which */
    removeAll: (which) => edit((rows) => rows.filter((_, index) => !which(index))),
    /** @param {number} index @param {number} to a place that there is @param {string | null} [group] that it is in then */
    move(index, to, group = state.rows[index].group) {
      const { badges, rows } = state;
      state.badges = moved(badges.length === rows.length ? badges : rows.map(() => undefined), index, to);
      const isSame = group === rows[index].group;
      edit((all) => moved(isSame ? all : withChanges(all, index, { group: group ?? undefined }), index, to));
    },
    /** @param {number} index */
    duplicate(index) {
      state.badges.splice(index, 0, state.badges[index]);
      edit((rows) => rows.toSpliced(index + 1, 0, structuredClone(rows[index])));
    },
    /** @param {Row[]} fresh go to the end of the list, which is unfolded for them */
    add: (fresh) => edit((rows) => [...rows, ...fresh], { ...state.stack.more, collapsed: undefined }),
    /** @param {Row[]} fresh */
    append(fresh) {
      if (fresh.length && !state.stack.error) edit((rows) => [...rows, ...fresh]);
    },
    /** @param {Row[]} rows */
    replace: (rows) => edit(() => rows.map((row) => changed(row, {}))),

    /** Between the rows and the text; a step of undo because the node changes its size. */
    toggleText: () => target.step(() => {
      if (state.stack.notes) { // the rows that Python read become the text
        state.asText = false;
        put(writeStack(state.stack, state.rows));
        return;
      }
      state.asText = !state.asText;
      render();
    }),
    /** Shows and hides the trigger words of rows. @param {string[]} loras @param {boolean} shown */
    showWords(loras, shown) {
      const now = state.rows.map(({ lora }) => lora).filter((lora) => (loras.includes(lora) ? shown : state.open.has(lora)));
      edit((rows) => rows, { ...state.stack.more, words: now.length ? [...new Set(now)] : undefined });
    },
    toggleCollapsed: () => edit((rows) => rows, { ...state.stack.more, collapsed: state.isCollapsed ? undefined : true }),
  };
}

/**
 * @param {import("../values/groups.mjs").Group} group
 * @param {Record<string, unknown>} changes
 */
function changedGroup(group, changes) {
  const all = Object.entries({ ...group, ...changes });
  return /** @type {import("../values/groups.mjs").Group} */ (Object.fromEntries(all.filter(([, value]) => value !== undefined)));
}

/** @typedef {ReturnType<typeof createEdits>} Edits */
