// @ts-check
/** The panel in which a workflow is published as an API: what it takes and gives, by one's own word, and how it is called. */

import { asOneStep } from "../base/canvas.mjs";
import { writeToClipboard } from "../base/clipboard.mjs";
import { create, icon, ROOT_CLASS, setAttribute, useStyle } from "../base/dom.mjs";
import { rootOf } from "../base/graph.mjs";
import { openMenu } from "../base/popup.mjs";
import { asSentence, t } from "../base/words.mjs";
import { arranged, changedRow, inputItems, moved, nameFrom, outputItems, readSaid, rowsOf, withSaid } from "../values/published.mjs";
import { createInputEditor, createOutputEditor } from "./editor.mjs";
import { labelled, showValue } from "./fields.mjs";
import { createForm } from "./form.mjs";
import { nodesAt, showNode } from "./places.mjs";
import { createRows } from "./rows.mjs";
import { baseUrl, call, keepToken, readToken, reasonOf, Refused } from "./service.mjs";
import { ICONS, STYLE, WIDTH } from "./style.mjs";
import { inputInWords, kindInWords } from "./phrases.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @import { Draft, Input, Item, Output, Row, Said } from "../values/published.mjs" */

const PAUSE = 350; // before the server is asked again, in milliseconds
/** What stays in the panel: ComfyUI has keys and gestures of its own. */
const KEPT_INSIDE = ["keyup", "keypress", "wheel", "pointerdown", "mousedown", "dblclick", "contextmenu", "copy", "cut", "paste", "dragover", "drop"];

/**
 * @typedef {object} Panel
 * @property {() => void} focus
 * @property {() => void} refresh to be called when another workflow may be shown
 */

/**
 * Opens the panel for the workflow that is shown.
 * @param {Comfy} comfy
 * @param {object} options
 * @param {() => void} options.onClose
 * @returns {Panel}
 */
export function openPanel(comfy, { onClose }) {
  useStyle("publish", STYLE);
  const { app, api } = comfy;
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  /** @type {Draft | undefined} of the workflow as it was when the server was asked last */
  let draft;
  /** @type {Item<Input>[]} */
  let inputs = [];
  /** @type {Item<Output>[]} */
  let outputs = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let asked = 0;
  let closed = false;

  const said = () => readSaid(rootOf(app).extra);
  const fileName = () => app.extensionManager?.workflow?.activeWorkflow?.filename ?? "";
  const nameNow = () => said().name || nameFrom(fileName());

  /** One step of undo. @param {Partial<Said>} changes */
  const say = (changes) => {
    const root = rootOf(app);
    asOneStep(app, () => { root.extra = withSaid(root.extra, { ...said(), ...changes }); });
    arrange();
    showLists();
    later();
  };
  const arrange = () => {
    const now = said();
    inputs = arranged(inputs, now.inputs);
    outputs = arranged(outputs, now.outputs);
  };

  // The head

  const name = create("input", {
    class: "lorchestra-field", type: "text", autocomplete: "off", spellcheck: false, maxLength: 64,
    "aria-describedby": "lorchestra-publish-name-problem", onchange: () => say({ name: name.value.trim() }),
  });
  const nameProblem = create("p", { class: "lorchestra-bad lorchestra-publish-problem", id: "lorchestra-publish-name-problem", role: "alert", hidden: true });
  const description = create("textarea", { class: "lorchestra-field", rows: 2, maxLength: 4000, onchange: () => say({ description: description.value.trim() }) });
  const status = create("p", { class: "lorchestra-publish-says", role: "status", "aria-live": "polite" });
  const publish = create("button", { type: "button", class: "lorchestra-button lorchestra-publish-main", text: t("Publish"), onclick: () => void publishNow() });
  const copy = create("button", {
    type: "button", class: "lorchestra-button", text: t("Copy…"), "aria-haspopup": "menu",
    onclick: () => openMenu({ anchor: copy, label: t("Copy…"), items: [
      { label: t("The URL"), run: () => void copyText(draft?.publication.urls.jobs, t("The URL")) },
      ...PROGRAMS.map(([id, label]) => ({ label: label(), run: () => void copyText(draft?.programs[id], label()) })),
    ] }),
  });
  const document_ = create("button", { type: "button", class: "lorchestra-button", text: t("OpenAPI document"), onclick: () => void openDocument() });
  const url = create("input", { class: "lorchestra-field", type: "text", readOnly: true, "aria-label": t("Where it is called"), onfocus: () => url.select() });
  const copyUrl = create("button", {
    type: "button", class: "lorchestra-publish-icon", title: t("Copy the URL"), "aria-label": t("Copy the URL"),
    onclick: () => void copyText(url.value, t("The URL")),
  }, icon(ICONS.copy));
  const address = create("div", { class: "lorchestra-publish-url", hidden: true }, url, copyUrl);

  // Without the token

  const token = create("input", { class: "lorchestra-field", type: "password", autocomplete: "off", required: true });
  const tokenForm = create("form", {
    hidden: true,
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      keepToken(token.value.trim());
      token.value = "";
      void refresh();
    },
  },
  labelled(t("Token of the service (LORCHESTRA_TOKEN); it is kept until this tab is closed"), token),
  create("div", { class: "lorchestra-publish-buttons" }, create("button", { type: "submit", class: "lorchestra-button", text: t("Use this token") })));

  // Inputs and outputs

  const inputList = createRows({
    label: t("Inputs"),
    createEditor: (key) => createInputEditor(() => inputs.find((item) => item.key === key), (changes) => changeInput(key, changes)),
    onChange: (key, changes) => changeInput(key, changes),
    onMove: (key, by) => {
      arrange();
      const at = inputs.findIndex((item) => item.key === key);
      if (inputs[at + by]) say({ inputs: rowsOf(moved(inputs, at, at + by)) });
    },
    onForget: (key) => forgetInput(key),
    onShow: (key) => {
      const item = inputs.find((one) => one.key === key);
      if (item) showNode(app, String(item.row.node), WIDTH);
    },
  });
  const outputList = createRows({
    label: t("Outputs"),
    createEditor: (key) => createOutputEditor(() => outputs.find((item) => item.key === key), (changes) => changeOutput(key, changes)),
    onChange: (key, changes) => changeOutput(key, changes),
    onMove: (key, by) => {
      arrange();
      const at = outputs.findIndex((item) => item.key === key);
      if (outputs[at + by]) say({ outputs: rowsOf(moved(outputs, at, at + by)) });
    },
    onForget: (key) => say({ outputs: rowsOf(outputs.filter((item) => item.key !== key)) }),
    onShow: (key) => void showNode(app, key, WIDTH),
  });
  const add = create("select", {
    class: "lorchestra-field lorchestra-publish-add", "aria-label": t("Add an input"),
    onchange: () => {
      const place = draft?.others[Number(add.value)];
      if (place && add.value) say({ inputs: [...rowsOf(inputs.map((item) => ({ ...item, order: Infinity }))), { node: place[0], widget: place[1] }] });
    },
  });
  const notes = create("ul", { class: "lorchestra-publish-notes lorchestra-warn", "aria-label": t("What could not be kept as it is in the workflow") });
  const form = createForm(comfy, { onTokenNeeded: () => refuse(new Refused("", 401, "")) });

  /** @param {string} key */
  const forgetInput = (key) => {
    arrange();
    say({ inputs: rowsOf(inputs.filter((item) => item.key !== key)) });
  };
  /** @param {string} key @param {Row} changes */
  const changeInput = (key, changes) => {
    // What a person has added and does not want any more is none.
    if (changes.hidden === true && inputs.some((item) => item.key === key && !item.found)) forgetInput(key);
    else {
      arrange();
      say({ inputs: rowsOf(withChanges(inputs, key, changes)) });
    }
  };
  /** @param {string} key @param {Row} changes */
  const changeOutput = (key, changes) => {
    arrange();
    say({ outputs: rowsOf(withChanges(outputs, key, changes)) });
  };

  // Tabs

  const inputsPage = create("div", {}, inputList.element, add);
  const outputsPage = create("div", {}, outputList.element);
  const pages = [
    { id: "inputs", page: inputsPage, words: () => t("Inputs ({count})", { count: inputs.filter(({ made, row }) => made && row.hidden !== true).length }) },
    { id: "outputs", page: outputsPage, words: () => t("Outputs ({count})", { count: outputs.filter(({ made, row }) => made && row.hidden !== true).length }) },
    { id: "try", page: form.element, words: () => t("Try it") },
  ].map((one) => {
    const tab = create("button", {
      type: "button", class: "lorchestra-publish-tab", role: "tab", id: `lorchestra-publish-tab-${one.id}`,
      "aria-controls": `lorchestra-publish-page-${one.id}`, onclick: () => select(one.id),
    });
    Object.assign(one.page, { id: `lorchestra-publish-page-${one.id}`, role: "tabpanel" });
    one.page.setAttribute("aria-labelledby", tab.id);
    return { ...one, tab };
  });
  /** @param {string} id */
  const select = (id) => {
    for (const { id: own, tab, page } of pages) {
      setAttribute(tab, "aria-selected", own === id);
      tab.tabIndex = own === id ? 0 : -1;
      page.hidden = own !== id;
    }
  };
  const tabs = create("div", {
    class: "lorchestra-publish-tabs", role: "tablist", "aria-label": t("Parts of the API"),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const at = pages.findIndex(({ tab }) => tab === event.target);
      const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: pages.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      const chosen = pages[(next + pages.length) % pages.length];
      select(chosen.id);
      chosen.tab.focus();
    },
  }, ...pages.map(({ tab }) => tab));

  const body = create("div", { hidden: true }, tabs, notes, ...pages.map(({ page }) => page));
  const close = create("button", {
    type: "button", class: "lorchestra-publish-icon", "aria-label": t("Close"), title: t("Close"), onclick: () => closePanel(),
  }, icon(ICONS.cross));
  const panel = create("section", { class: `${ROOT_CLASS} lorchestra-publish`, role: "dialog", "aria-labelledby": "lorchestra-publish-title" },
    create("div", { class: "lorchestra-publish-head" }, create("h2", { id: "lorchestra-publish-title", text: t("Publish as API") }), close),
    create("div", { class: "lorchestra-publish-scroll" },
      labelled(t("Name, a part of its address"), name, nameProblem), labelled(t("Description, for those who call it"), description), status, tokenForm,
      create("div", { class: "lorchestra-publish-buttons" }, publish, copy, document_), address, body));

  // The server

  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => void refresh(), PAUSE);
    setAttribute(panel, "aria-busy", true);
  };

  const refresh = async () => {
    clearTimeout(timer);
    const mine = asked += 1;
    setAttribute(panel, "aria-busy", true);
    showHead();
    const rows = said();
    const wanted = nameNow();
    try {
      const query = new URLSearchParams({ dry_run: "true", base_url: baseUrl(comfy) });
      const answer = await call(comfy, "PUT", `/workflows/${encodeURIComponent(wanted)}?${query}`, workflowBody());
      if (closed || mine !== asked) return;
      draft = /** @type {Draft} */ (answer);
      inputs = inputItems(draft, rows.inputs);
      outputs = outputItems(draft, rows.outputs);
      arrange(); // somebody may have gone on meanwhile
      refused = undefined;
      showAll();
      await form.show(wanted, draft);
    } catch (error) {
      if (!closed && mine === asked) refuse(error);
    }
    if (mine === asked) setAttribute(panel, "aria-busy", null);
  };

  const workflowBody = () => JSON.stringify({ workflow: rootOf(app).serialize?.() });

  /** @type {Refused | Error | undefined} why the server did not say what would be published */
  let refused;
  /** @param {unknown} error */
  const refuse = (error) => {
    refused = error instanceof Error ? error : new Error(String(error));
    showAll();
    if (refused instanceof Refused && refused.status === 401) token.focus();
  };

  const publishNow = async () => {
    const wanted = nameNow();
    publish.disabled = true;
    try {
      if (said().name !== wanted) say({ name: wanted });
      await call(comfy, "PUT", `/workflows/${encodeURIComponent(wanted)}`, workflowBody());
      await refresh();
    } catch (error) {
      refuse(error);
    }
    publish.focus();
  };

  const openDocument = async () => {
    const path = `/workflows/${encodeURIComponent(nameNow())}/openapi.json`;
    if (!readToken()) {
      window.open(baseUrl(comfy) + path, "_blank", "noopener");
      return;
    }
    const tab = window.open("", "_blank"); // which could not send the token; and later a browser would not open it
    try {
      const text = JSON.stringify(await call(comfy, "GET", path), null, 2);
      if (tab) tab.location.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    } catch (error) {
      tab?.close();
      refuse(error);
    }
  };

  /** @param {string | undefined} text @param {string} what */
  const copyText = async (text, what) => {
    const done = text !== undefined && await writeToClipboard(text, panel);
    status.textContent = done ? t("Copied: {what}", { what }) : t("The clipboard cannot be written to");
    status.className = `lorchestra-publish-says ${done ? "lorchestra-good" : "lorchestra-bad"}`;
  };

  // What is shown

  const showHead = () => {
    showValue(name, nameNow());
    showValue(description, said().description);
  };

  const showAll = () => {
    showHead();
    const needsToken = refused instanceof Refused && refused.status === 401;
    const isName = refused instanceof Refused && refused.path === "name";
    nameProblem.textContent = isName ? asSentence(reasonOf(refused)) : "";
    nameProblem.hidden = !isName;
    setAttribute(name, "aria-invalid", isName || null);
    tokenForm.hidden = !needsToken;
    body.hidden = !draft || needsToken;
    const isPublished = Boolean(draft?.versions.length) && !refused;
    publish.disabled = !draft || Boolean(refused) || draft.problems.length > 0 || draft.is_published;
    for (const one of [copy, document_, copyUrl]) {
      one.disabled = !isPublished;
      one.title = isPublished ? one.getAttribute("aria-label") ?? "" : t("Publish it first");
    }
    address.hidden = !draft; // lines that come and go would move what is below them
    url.value = draft?.publication.urls.jobs ?? "";
    const [words, mood] = needsToken ? [readToken() ? t("This is not the token of the service.") : t("The service of this ComfyUI has a token."), "bad"]
      : isName ? ["", ""] : refused ? [asSentence(reasonOf(refused)), "bad"] : draft ? statusOf(draft) : ["", ""];
    status.textContent = words;
    status.className = `lorchestra-publish-says ${mood && `lorchestra-${mood}`}`;
    showLists();
  };

  const showLists = () => {
    if (!draft) return;
    inputList.show(inputs.map((item) => {
      const input = item.made ?? item.found;
      return { ...lineOf(item, input?.name ?? String(item.row.widget)), what: input ? inputInWords(input) : t("no longer in the workflow"), where: whereInWords(item.row) };
    }));
    outputList.show(outputs.map((item) => {
      const output = item.made ?? item.found;
      return { ...lineOf(item, output?.name ?? item.key), what: output ? kindInWords(output.kind) : t("no longer in the workflow"), where: whereInWords(item.row) };
    }));
    for (const { tab, words } of pages) if (tab.textContent !== words()) tab.textContent = words();
    const texts = draft.publication.notes;
    notes.hidden = !texts.length;
    notes.replaceChildren(...texts.map((text) => create("li", { text: asSentence(text) })));
    showOthers(draft);
  };

  /** @param {Item<Input> | Item<Output>} item @param {string} shown */
  const lineOf = ({ key, row, found, made, problem }, shown) => ({
    key, name: shown, hidden: row.hidden === true, gone: !found && !made, problem: asSentence(problem),
  });

  /** @param {Row} row */
  const whereInWords = ({ node: id, widget }) => {
    const node = nodesAt(app, String(id)).at(-1);
    const title = node ? `${node.title} #${id}` : `#${id}`;
    return widget === undefined ? title : t("{node}: {widget}", { node: title, widget: String(widget) });
  };

  /** @param {Draft} now */
  const showOthers = (now) => {
    const groups = new Map(/** @type {[string, HTMLOptionElement[]][]} */ ([]));
    now.others.forEach(([node, widget], index) => {
      const options = groups.get(node) ?? [];
      options.push(create("option", { value: String(index), text: widget }));
      groups.set(node, options);
    });
    add.hidden = !groups.size;
    add.replaceChildren(create("option", { value: "", text: t("Add an input…") }), ...[...groups].map(([node, options]) =>
      create("optgroup", { label: whereInWords({ node }) }, ...options)));
  };

  // Open and close

  const closePanel = () => {
    if (closed) return;
    closed = true;
    clearTimeout(timer);
    form.close();
    api.removeEventListener("graphChanged", later);
    window.removeEventListener("keydown", onUndo);
    const hadFocus = panel.contains(document.activeElement);
    panel.remove();
    onClose();
    if (hadFocus && before?.isConnected) before.focus({ preventScroll: true });
  };
  for (const kind of KEPT_INSIDE) panel.addEventListener(kind, (event) => event.stopPropagation());
  panel.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation(); // undo is ComfyUI's
    if (event.key !== "Escape" || event.isComposing) return;
    event.preventDefault();
    closePanel();
  });
  /** The browser would undo what was typed into a field before, and put the focus there. @param {KeyboardEvent} event */
  const onUndo = (event) => {
    const isTyping = event.target instanceof Element && event.target.matches("input, textarea");
    if ((event.ctrlKey || event.metaKey) && ["z", "y"].includes(event.key.toLowerCase()) && !isTyping) event.preventDefault();
  };
  window.addEventListener("keydown", onUndo);
  api.addEventListener("graphChanged", later);
  document.body.append(panel);
  select("inputs");
  showAll();
  name.focus({ preventScroll: true });
  void refresh();
  return { focus: () => name.focus(), refresh: later };
}

/** The programs of a draft, as the menu has them. @type {[string, () => string][]} */
const PROGRAMS = [
  ["curl", () => t("As curl")], ["python", () => t("As Python with comfy-sdk")], ["requests", () => t("As Python with requests")],
  ["typescript", () => t("As TypeScript")],
];

/**
 * @template {{key: string, row: Row}} I
 * @param {I[]} items
 * @param {string} key
 * @param {Row} changes
 * @returns {I[]}
 */
function withChanges(items, key, changes) {
  return items.map((item) => (item.key === key ? { ...item, row: changedRow(item.row, changes) } : item));
}

/** @param {Draft} draft @returns {[string, string]} words, and their colour */
function statusOf({ versions, is_published: isPublished, problems }) {
  if (problems.length) return [problems.length === 1 ? t("One line below has to change.") : t("{count} lines below have to change.", { count: problems.length }), "bad"];
  const version = versions.at(-1);
  if (version === undefined) return [t("Not published yet."), "quiet"];
  return isPublished ? [t("Published as version {version}.", { version }), "good"] : [t("Changed since version {version} was published.", { version }), "warn"];
}
