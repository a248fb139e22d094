// @ts-check
/** One picture of the grid: the LoRA's preview, its name, what it is for, and a star. */

import { create, icon } from "../base/dom.mjs";
import { setting } from "../base/settings.mjs";
import { t } from "../base/words.mjs";
import { CHECK, PLUS, showRow, showUnusable, STAR } from "./row.mjs";

/** @import { Comfy } from "../types.d.ts" */

const PAUSE = 120; // before a picture is asked for, in milliseconds: those that are scrolled past are not
const NAME_HEIGHT = 26; // pixels
const SIZES = { small: 96, medium: 144, large: 216 }; // width of a picture in pixels
const SHAPE = 4 / 3; // height of a picture by its width
const GAP = 8;
const MOST_KNOWN = 5000;

/** @typedef {keyof typeof SIZES} PictureSize */

/**
 * @param {PictureSize} size
 * @returns {{rowHeight: number, columnWidth: number}} of a cell, in pixels
 */
export function cellSize(size) {
  return { rowHeight: Math.round(SIZES[size] * SHAPE) + NAME_HEIGHT + GAP, columnWidth: SIZES[size] + GAP };
}

/**
 * The address of a picture.
 * @param {Comfy} comfy
 * @param {"thumbnail" | "preview"} kind
 * @param {string} name
 * @param {number} number of the picture
 */
export function pictureAddress({ api }, kind, name, number) {
  return api.apiURL(`/lorchestra/${kind}?lora=${encodeURIComponent(name)}&number=${number}`);
}

/** Addresses that have been shown, and come from the browser's memory. @type {Set<string>} */
const seen = new Set();

/**
 * @typedef {HTMLElement & {
 *   show: (lora: import("../values/search.mjs").Lora | null) => void, follow: (host: HTMLElement) => void,
 * }} Picture
 */

/**
 * The picture in a cell. It waits a moment before it is loaded; several are looked through by moving the pointer over
 * it, and videos play then.
 * @param {Comfy} comfy
 * @returns {Picture}
 */
export function createPicture(comfy) {
  const image = create("img", { alt: "", draggable: false, decoding: "async" });
  const none = create("span", { class: "lorchestra-cell-none lorchestra-quiet" });
  const count = create("span", { class: "lorchestra-cell-count", "aria-hidden": "true" });
  const element = create("div", { class: "lorchestra-cell-picture" }, none, image, count);
  /** @type {import("../values/search.mjs").Lora | null} */
  let shown = null;
  let number = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {HTMLVideoElement | undefined} */
  let video;

  const stop = () => {
    video?.removeAttribute("src");
    video?.load(); // ends its download
    video?.remove();
    video = undefined;
  };
  // Drawn by the style sheet: a cell is called what its LoRA is called.
  const say = (/** @type {string} */ words) => { none.dataset.words = words; };
  const load = () => {
    if (!shown) return;
    const address = pictureAddress(comfy, "thumbnail", shown.name, number);
    if (image.getAttribute("src") !== address) image.src = address;
  };
  /** @param {number} next */
  const showNumber = (next) => {
    number = next;
    clearTimeout(timer);
    if (!shown) return;
    const address = pictureAddress(comfy, "thumbnail", shown.name, number);
    if (image.getAttribute("src") === address) return;
    image.removeAttribute("src");
    if (seen.has(address)) load();
    else timer = setTimeout(load, PAUSE);
  };
  const play = () => {
    if (!shown?.videos || video || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    video = create("video", {
      src: pictureAddress(comfy, "preview", shown.name, shown.images), muted: true, loop: true, autoplay: true,
      playsInline: true, "aria-hidden": "true", onerror: stop,
    });
    element.append(video);
    void video.play().catch(() => {});
  };
  image.addEventListener("load", () => {
    if (seen.size >= MOST_KNOWN) seen.clear();
    seen.add(image.getAttribute("src") ?? "");
  });
  image.addEventListener("error", () => {
    if (!image.hasAttribute("src")) return;
    image.removeAttribute("src");
    say(t("The picture cannot be shown"));
  });
  const onPointer = {
    pointerenter: play,
    /** @param {PointerEvent} event */
    pointermove(event) {
      if (!shown || shown.images < 2 || shown.videos) return;
      const { left, width } = element.getBoundingClientRect();
      showNumber(Math.max(Math.min(Math.floor((event.clientX - left) / width * shown.images), shown.images - 1), 0));
    },
    pointerleave() {
      stop();
      if (shown?.images) showNumber(0);
    },
  };

  return Object.assign(element, {
    /** Hears the pointer over it, and over what lies on it. @param {HTMLElement} host */
    follow(host) {
      for (const [kind, listener] of Object.entries(onPointer)) host.addEventListener(kind, /** @type {EventListener} */ (listener));
    },
    /** @param {import("../values/search.mjs").Lora | null} lora */
    show(lora) {
      if (shown?.name === lora?.name && shown?.images === lora?.images && shown?.videos === lora?.videos) return;
      stop();
      clearTimeout(timer);
      shown = lora;
      image.removeAttribute("src");
      const pictures = (lora?.images ?? 0) + (lora?.videos ?? 0);
      count.dataset.count = lora?.videos ? "▶" : pictures > 1 ? String(pictures) : "";
      say(pictures ? "" : t("No picture"));
      element.classList.toggle("lorchestra-blurred", Boolean(lora?.nsfw) && setting(comfy.app, "blurNsfw"));
      if (lora?.images) showNumber(0);
    },
  });
}

/**
 * @param {Comfy} comfy
 * @param {boolean} several whether it can be added while the picker stays open
 * @returns {HTMLElement}
 */
export function createCell(comfy, several) {
  const picture = createPicture(comfy);
  const cell = create("div", { class: "lorchestra-picker-row lorchestra-cell", role: "option" },
    create("span", { class: "lorchestra-picker-name lorchestra-picker-cut", dir: "auto" }, create("span"), create("span")), " ",
    create("span", { class: "lorchestra-picker-where", hidden: true }, create("span"), create("span")),
    create("span", { class: "lorchestra-picker-family" }),
    create("span", { class: "lorchestra-picker-star" }, icon(STAR)),
    picture,
    several && create("span", { class: "lorchestra-picker-add", title: t("Add and leave open (Ctrl+Enter)") }, icon(PLUS), icon(CHECK)));
  picture.follow(cell);
  return cell;
}

/**
 * @param {HTMLElement} cell
 * @param {import("../values/search.mjs").Entry} entry
 * @param {import("./row.mjs").Shown} shown
 */
export function showCell(cell, entry, shown) {
  showRow(cell, entry, shown);
  pictureIn(cell).show(entry.lora);
}

/**
 * @param {HTMLElement} cell
 * @param {import("../values/search.mjs").Unusable} file
 * @param {import("./row.mjs").Shown} shown
 */
export function showUnusableCell(cell, file, shown) {
  showUnusable(cell, file, shown);
  pictureIn(cell).show(null);
}

/** @param {HTMLElement} cell */
function pictureIn(cell) {
  return /** @type {Picture} */ (/** @type {unknown} */ (cell.querySelector(".lorchestra-cell-picture")));
}
