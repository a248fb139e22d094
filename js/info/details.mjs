// @ts-check
/** What stands on the card once the server has answered. No ComfyUI, no requests. */

import { create, icon } from "../base/dom.mjs";
import { asSentence, t } from "../base/words.mjs";
import { formatWeight } from "../values/numbers.mjs";

const SHORT_HASH = 10; // digits, as model sites show it

/**
 * @typedef {object} Actions
 * @property {import("../values/stack.mjs").Row} [row]
 * @property {(changes: {model?: number, clip?: number, sha256?: string, air?: string}) => void} [onChange]
 * @property {(words: string) => void} say to a screen reader
 * @property {(text: string, button: HTMLElement) => void} copy
 * @property {() => Promise<string | null>} hash works the file's hash out
 * @property {(number: number) => string} preview address of one of the previews
 * @property {boolean} [blur] whether it is blurred until it is pressed
 */

/** @typedef {{min: number, median: number, max: number}} Spread */

/**
 * The answer of `/lorchestra/info`.
 * @typedef {object} Info
 * @property {string | null} title
 * @property {boolean} preview whether an image lies beside the file
 * @property {("image" | "video")[]} previews all previews, images first
 * @property {boolean} [nsfw] whether a sidecar says that they are not safe for work
 * @property {string} kind
 * @property {string | null} kind_title
 * @property {string | null} problem why the file could not be read
 * @property {string[]} family titles of what it was made for
 * @property {{title: string, share: number}[]} partial
 * @property {string[]} evidence
 * @property {string[]} warnings
 * @property {Record<string, number>} algorithms
 * @property {Record<string, number>} spellings
 * @property {Record<string, number>} components
 * @property {Record<string, number>} dtypes
 * @property {number} modules
 * @property {Spread | null} rank
 * @property {Spread | null} scale
 * @property {string[]} triggers
 * @property {string[]} tags
 * @property {string | null} negative
 * @property {number | null} weight
 * @property {[number, number] | null} weight_range
 * @property {number | null} clip
 * @property {{kind: string, text: string}[]} notes
 * @property {{key: string, value: string}[]} claims
 * @property {string | null} trained_on
 * @property {string | null} software
 * @property {Record<string, string>} about
 * @property {string | null} sha256
 * @property {string | null} model_hash
 * @property {string | null} air
 * @property {string | null} urn its long form
 * @property {string[]} sidecars
 * @property {string} path
 * @property {number} size in bytes
 * @property {number} modified in seconds
 */

/**
 * @param {Info} info
 * @param {Actions} actions
 * @returns {HTMLElement}
 */
export function createDetails(info, actions) {
  const sections = [
    createTop(info, actions),
    createProblem(info),
    createWords(t("Trigger words"), info.triggers, actions),
    createWeight(info, actions),
    createWords(t("For the negative prompt"), info.negative ? [info.negative] : [], actions),
    ...info.notes.map((note) => createText(NOTES[note.kind]?.() ?? note.kind, note.text)),
    createWords(t("Frequent training tags"), info.tags, actions),
    createFacts(t("Base model (from metadata)"), claims(info)),
    createList(t("Good to know"), info.warnings),
    createIdentity(info, actions),
    createFile(info, actions),
  ];
  return create("div", {}, ...sections);
}

/** @type {Record<string, () => string>} */
const NOTES = {
  notes: () => t("Notes"),
  description: () => t("Description"),
  hint: () => t("How to use it"),
  comment: () => t("Training comment"),
};

/** @type {Record<string, () => string>} */
const CLAIMS = {
  sidecar: () => t("Model site"),
  ss_sd_model_name: () => t("Trained on the file"),
  ss_base_model_version: () => t("According to the trainer"),
  "modelspec.architecture": () => t("Architecture"),
  ss_network_module: () => t("Network module"),
};

/** @type {Record<string, () => string>} */
const ABOUT = { author: () => t("Author"), license: () => t("License"), date: () => t("Date") };

/**
 * @param {Info} info
 * @param {Actions} actions
 */
function createTop(info, actions) {
  const image = info.previews.length > 0 && createPreviews(info, actions);
  const facts = factsOf(info).filter(([, value]) => value);
  const why = info.evidence.length > 0 && create("details", {}, create("summary", { text: t("Why") }),
    create("ul", {}, ...info.evidence.map((/** @type {string} */ text) => create("li", { text }))));
  return create("div", { class: "lorchestra-info-top" }, image || null,
    create("div", { style: "flex:1;min-width:0" }, definitions(facts), why || null));
}

/**
 * The pictures and videos beside the file, one at a time; arrow keys and buttons go to the others.
 * @param {Info} info
 * @param {Actions} actions
 */
function createPreviews({ previews }, { preview, blur, say }) {
  let at = 0;
  let isBlurred = blur === true;
  const frame = create("div", { class: "lorchestra-info-frame" });
  const count = create("span", { class: "lorchestra-quiet" });
  const show = () => {
    const onerror = () => {
      if (previews.length === 1) element.remove();
      else frame.replaceChildren(create("span", { class: "lorchestra-quiet", text: t("The picture cannot be shown") }));
    };
    const src = preview(at);
    const image = previews[at] === "image"
      ? create("img", { class: "lorchestra-info-image", src, alt: t("Preview image"), draggable: false, loading: "lazy", onerror })
      : create("video", {
        class: "lorchestra-info-image", src, "aria-label": t("Preview video"), muted: true, loop: true, controls: true,
        preload: "metadata", onerror,
      });
    if (isBlurred) {
      image.classList.add("lorchestra-info-blurred");
      image.title = t("Blurred. Press to show it.");
      image.addEventListener("click", () => {
        isBlurred = false;
        image.classList.remove("lorchestra-info-blurred");
        image.title = "";
      }, { once: true });
    }
    frame.replaceChildren(image);
    count.textContent = `${at + 1} / ${previews.length}`;
  };
  const step = (/** @type {number} */ by) => {
    at = (at + by + previews.length) % previews.length;
    show();
    say(t("Picture {number} of {count}", { number: at + 1, count: previews.length }));
  };
  const button = (/** @type {string} */ path, /** @type {string} */ label, /** @type {number} */ by) => create("button", {
    type: "button", class: "lorchestra-button lorchestra-info-step", "aria-label": label, title: label, onclick: () => step(by),
  }, icon(path));
  show();
  const turn = previews.length > 1 && create("div", { class: "lorchestra-info-turn" },
    button("M10 3L5 8l5 5", t("Previous picture"), -1), count, button("M6 3l5 5-5 5", t("Next picture"), 1));
  const element = create("div", { class: "lorchestra-info-previews" }, frame, turn);
  if (turn) turn.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    step(event.key === "ArrowLeft" ? -1 : 1);
  });
  return element;
}

/**
 * @param {Info} info
 * @returns {[string, string | HTMLElement | null][]}
 */
function factsOf(info) {
  return [
    [t("Made for"), madeFor(info)],
    [t("Trained on"), info.trained_on],
    [t("Algorithm"), counts(info.algorithms)],
    [t("Rank"), spread(info.rank, String)],
    [t("Alpha / rank"), spread(info.scale, (value) => String(Number(value.toPrecision(4))))],
    [t("Modules"), counts(info.components)],
    [t("Key format"), Object.keys(info.spellings).join(", ")],
    [t("Data type"), Object.keys(info.dtypes).join(", ")],
    [t("Software"), info.software],
  ];
}

/** @param {Info} info */
function madeFor(info) {
  if (info.kind !== "lora") return info.kind_title ?? null;
  if (info.family.length) return info.family.join(t(" or "));
  if (info.partial.length) {
    return info.partial.map((one) => `${Math.round(one.share * 100)} % ${one.title}`).join(", ");
  }
  return info.modules ? t("an unknown model") : null;
}

/** @param {Info} info */
function createProblem(info) {
  if (!info.problem) return null;
  return create("section", {}, create("p", { class: "lorchestra-bad", role: "note", text: asSentence(info.problem) }));
}

/**
 * @param {string} label
 * @param {string[]} words
 * @param {Actions} actions
 */
function createWords(label, words, { copy }) {
  if (!words.length) return null;
  const all = words.length > 1 && create("button", {
    type: "button", class: "lorchestra-button lorchestra-info-small", text: t("Copy all"),
    "aria-label": `${label}: ${t("Copy all")}`,
    onclick: (/** @type {Event} */ event) => copy(words.join(", "), /** @type {HTMLElement} */ (event.currentTarget)),
  });
  const buttons = words.map((text) => create("button", {
    type: "button", class: "lorchestra-button lorchestra-info-word", text, title: t("Click to copy"),
    "aria-label": t("Copy {text}", { text }),
    onclick: (/** @type {Event} */ event) => copy(text, /** @type {HTMLElement} */ (event.currentTarget)),
  }));
  return create("section", {}, create("h3", {}, create("span", { text: label }), all || null),
    create("div", { class: "lorchestra-info-words" }, ...buttons));
}

/**
 * @param {Info} info
 * @param {Actions} actions
 */
function createWeight(info, { onChange, say }) {
  const { weight, clip, weight_range: range } = info;
  if (weight === null && !range) return null;
  const hasClip = clip !== null && clip !== weight;
  const parts = [];
  if (weight !== null) parts.push(formatWeight(weight));
  if (hasClip) parts.push(t("CLIP {weight}", { weight: formatWeight(clip) }));
  if (range) {
    const [low, high] = range.map(formatWeight);
    parts.push(t("{low} to {high} work", { low, high }));
  }
  const take = weight !== null && onChange && create("button", {
    type: "button", class: "lorchestra-button lorchestra-info-small", text: t("Use it"),
    "aria-label": t("Use the recommended weight"),
    onclick: () => {
      onChange({ model: weight, ...(hasClip ? { clip } : {}) });
      say(t("The row now has the weight {weight}", { weight: formatWeight(weight) }));
    },
  });
  return create("section", {}, create("h3", {}, create("span", { text: t("Recommended weight") })),
    create("div", { class: "lorchestra-info-line" }, create("span", { text: parts.join(" · ") }), take || null));
}

/**
 * @param {string} label
 * @param {string} text
 */
function createText(label, text) {
  return create("section", {}, create("h3", {}, create("span", { text: label })),
    create("div", { class: "lorchestra-info-text", text, tabIndex: 0, role: "group", "aria-label": label }));
}

/**
 * @param {string} label
 * @param {string[]} lines
 */
function createList(label, lines) {
  if (!lines.length) return null;
  return create("section", {}, create("h3", {}, create("span", { text: label })),
    create("ul", {}, ...lines.map((text) => create("li", { text: asSentence(text) }))));
}

/**
 * @param {string} label
 * @param {[string, string][]} facts
 */
function createFacts(label, facts) {
  if (!facts.length) return null;
  return create("section", {}, create("h3", {}, create("span", { text: label })), definitions(facts));
}

/**
 * @param {Info} info
 * @returns {[string, string][]}
 */
function claims(info) {
  return [
    ...info.claims.map(({ key, value }) => /** @type {[string, string]} */ ([CLAIMS[key]?.() ?? key, value])),
    ...Object.entries(info.about).map(([key, value]) => /** @type {[string, string]} */ ([ABOUT[key]?.() ?? key, value])),
  ];
}

/**
 * Hash and AIR: what a shared workflow is found by.
 * @param {Info} info
 * @param {Actions} actions
 */
function createIdentity(info, actions) {
  const { row, onChange, say, hash } = actions;
  const line = create("div", {});
  /** @param {string | null} sha256 */
  const show = (sha256) => {
    /** @type {[string, HTMLElement][]} */
    const facts = [];
    if (sha256) facts.push(["SHA-256", copyable(sha256, `${sha256.slice(0, SHORT_HASH)}…`, actions)]);
    else {
      const find = create("button", {
        type: "button", class: "lorchestra-button lorchestra-info-small", text: t("Calculate"),
        title: t("Reads the whole file once"),
        onclick: async () => {
          find.disabled = true;
          find.textContent = t("Reading…");
          const found = await hash().catch(() => null);
          if (!line.isConnected) return;
          const hadFocus = document.activeElement === find || document.activeElement === document.body;
          show(found);
          say(found ? t("The hash is {hash}", { hash: found.slice(0, SHORT_HASH) }) : t("The file could not be read"));
          if (hadFocus) /** @type {HTMLElement | null} */ (line.querySelector("button"))?.focus();
        },
      });
      facts.push(["SHA-256", find]);
    }
    if (info.model_hash) {
      facts.push([t("Hash of the tensors"), copyable(info.model_hash, `${info.model_hash.slice(0, SHORT_HASH)}…`, actions)]);
    }
    if (info.air) facts.push(["AIR", copyable(info.air, info.air, actions)]);
    if (info.urn && info.urn !== info.air) facts.push([t("AIR, long form"), copyable(info.urn, info.urn, actions)]);
    const changes = {
      ...(sha256 && row && row.sha256 !== sha256 ? { sha256 } : {}), ...(info.air && row && row.air !== info.air ? { air: info.air } : {}),
    };
    const keep = onChange && Object.keys(changes).length > 0 && create("button", {
      type: "button", class: "lorchestra-button lorchestra-info-small", text: t("Save with this row"),
      title: t("So that others who open this workflow can find the file, whatever it is called there"),
      onclick: () => {
        onChange(changes);
        keep && keep.remove();
        say(t("Saved with this row"));
      },
    });
    line.replaceChildren(definitions(facts), ...(keep ? [keep] : []));
  };
  show(info.sha256);
  return create("section", {}, create("h3", {}, create("span", { text: t("Identity") })), line);
}

/**
 * @param {Info} info
 * @param {Actions} actions
 */
function createFile(info, actions) {
  /** @type {[string, string | HTMLElement][]} */
  const facts = [
    [t("Size"), size(info.size)],
    [t("Changed"), new Date(info.modified * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })],
    [t("Path"), copyable(info.path, info.path, actions)],
  ];
  if (info.sidecars.length) facts.push([t("Beside it"), info.sidecars.join(", ")]);
  const isBare = !info.modules && !info.triggers.length && !info.notes.length && !info.claims.length && !info.problem;
  return create("section", {},
    isBare && create("p", { class: "lorchestra-quiet", text: t("Nothing else is known about this file.") }),
    create("h3", {}, create("span", { text: t("File") })), definitions(facts));
}

/**
 * A text that a press copies.
 * @param {string} text
 * @param {string} shown
 * @param {Actions} actions
 */
function copyable(text, shown, { copy }) {
  return create("button", {
    type: "button", class: "lorchestra-button lorchestra-info-small lorchestra-info-word lorchestra-info-mono",
    text: shown, title: `${text}\n${t("Click to copy")}`, "aria-label": t("Copy {text}", { text: shown }),
    onclick: (/** @type {Event} */ event) => copy(text, /** @type {HTMLElement} */ (event.currentTarget)),
  });
}

/** @param {[string, string | HTMLElement | null][]} facts */
function definitions(facts) {
  return create("dl", { class: "lorchestra-info-facts" }, ...facts.flatMap(([label, value]) => [
    create("dt", { text: label }), create("dd", {}, value),
  ]));
}

/** @param {Record<string, number>} found */
function counts(found) {
  return Object.entries(found).map(([name, count]) => `${name} ${count}`).join(", ");
}

/**
 * @param {{min: number, median: number, max: number} | null} found
 * @param {(value: number) => string} write
 */
function spread(found, write) {
  if (!found) return null;
  const { min, median, max } = found;
  return min === max ? write(min) : t("{min} to {max}, mostly {median}", { min: write(min), max: write(max), median: write(median) });
}

/** @param {number} bytes */
function size(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${units[power]}`;
}
