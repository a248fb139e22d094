// @ts-check
/**
 * The text that a program wrote into a JPEG or WebP picture: the user comment of its EXIF, found without decoding a pixel.
 * Python has the same reader for the command line: `lorchestra/exchange/exif.py`, which has the sources.
 */

import { MAX_TEXT } from "./limits.mjs";

const MAX_CHUNKS = 200_000;
const MOST = 2 * MAX_TEXT + 65_536;
const MOST_FILL = 100; // bytes before the kind of a part of a JPEG picture; there is nearly always one
const EXIF_START = "Exif\0\0";
const FOLDER = 0x8769;
const COMMENT = 0x9286;
const NOTHING = new Uint8Array();
const OF_COMFYUI = /** @type {const} */ ([[0x0110, "prompt:"], [0x010f, "workflow:"]]);

/** @import { Found } from "./png.mjs" */

/** @param {Uint8Array} bytes @returns {boolean} */
export function isJpeg(bytes) {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

/** @param {Uint8Array} bytes @returns {boolean} */
export function isWebp(bytes) {
  return ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 12) === "WEBP";
}

/** @param {Uint8Array} bytes a whole JPEG file @returns {Found} */
export function findInJpeg(bytes) {
  const view = viewOf(bytes);
  let at = 3;
  for (let count = 0; count < MAX_CHUNKS; count++) {
    for (let fill = 0; bytes[at] === 0xff; at++) if (++fill === MOST_FILL) return { kind: "damaged" };
    const marker = bytes[at];
    if (marker === undefined || marker === 0xda || marker === 0xd9) break; // the end, or the pixels
    const start = at + 3;
    if (start > bytes.length) return { kind: "damaged" };
    const end = at + 1 + view.getUint16(at + 1);
    if (end < start || end > bytes.length) return { kind: "damaged" };
    if (marker === 0xe1 && ascii(bytes, start, start + EXIF_START.length) === EXIF_START) {
      return findText(bytes.subarray(start + EXIF_START.length, end));
    }
    if (bytes[end] !== 0xff) return { kind: "damaged" };
    at = end + 1;
  }
  return { kind: "none" };
}

/** @param {Uint8Array} bytes a whole WebP file @returns {Found} */
export function findInWebp(bytes) {
  const view = viewOf(bytes);
  let at = 12;
  for (let count = 0; at + 8 <= bytes.length && count < MAX_CHUNKS; count++) {
    const size = view.getUint32(at + 4, true);
    if (ascii(bytes, at, at + 4) === "EXIF") {
      if (size > MOST || at + 8 + size > bytes.length) return { kind: "damaged" };
      const isMarked = ascii(bytes, at + 8, Math.min(at + 8 + EXIF_START.length, at + 8 + size)) === EXIF_START;
      return findText(bytes.subarray(at + 8 + (isMarked ? EXIF_START.length : 0), at + 8 + size));
    }
    at += 8 + size + (size % 2);
  }
  return { kind: "none" };
}

/** @param {Uint8Array} tiff EXIF data, which begin with their byte order @returns {Found} */
function findText(tiff) {
  const isLittle = ascii(tiff, 0, 4) === "II*\0";
  if (!isLittle && ascii(tiff, 0, 4) !== "MM\0*") return { kind: "damaged" };
  try {
    const view = viewOf(tiff);
    const first = readTags(tiff, view, isLittle, view.getUint32(4, isLittle));
    const folder = first.get(FOLDER);
    const inner = folder && readTags(tiff, view, isLittle, viewOf(folder).getUint32(0, isLittle));
    const comment = inner?.get(COMMENT) ?? first.get(COMMENT);
    if (comment) return textOf(comment);
    const isComfyUI = OF_COMFYUI.some(([tag, start]) => ascii(first.get(tag) ?? NOTHING, 0, start.length) === start);
    return { kind: isComfyUI ? "comfyui" : "none" };
  } catch { // it is cut off, or its characters are none
    return { kind: "damaged" };
  }
}

/**
 * @param {Uint8Array} tiff
 * @param {DataView} view
 * @param {boolean} isLittle
 * @param {number} start
 * @returns {Map<number, Uint8Array>} tag to its bytes, for tags of bytes and of text, and for where a folder is; throws
 *   where they are cut off
 */
function readTags(tiff, view, isLittle, start) {
  const count = start + 2 <= tiff.length ? view.getUint16(start, isLittle) : 0;
  /** @type {Map<number, Uint8Array>} */
  const found = new Map();
  for (let number = 0, at = start + 2; number < count; number++, at += 12) {
    const [tag, kind] = [view.getUint16(at, isLittle), view.getUint16(at + 2, isLittle)];
    const length = view.getUint32(at + 4, isLittle);
    const value = view.getUint32(at + 8, isLittle); // throws beyond the end
    if (tag === FOLDER) found.set(tag, tiff.subarray(at + 8, at + 12));
    else if ([1, 2, 7].includes(kind) && (tag === COMMENT || OF_COMFYUI.some(([one]) => one === tag))) {
      const where = length <= 4 ? at + 8 : value;
      if (where + length > tiff.length) throw new RangeError();
      found.set(tag, tiff.subarray(where, where + length));
    }
  }
  return found;
}

/** @param {Uint8Array} comment @returns {Found} its first eight bytes say how its characters are written; throws for none */
function textOf(comment) {
  const start = ascii(comment, 0, 8);
  const rest = comment.subarray(8);
  if (comment.length > MOST || start === "JIS\0\0\0\0\0") return { kind: "damaged" };
  const text = start === "UNICODE\0" ? decode(rest, byteOrder(rest)).replace(/^\ufeff/, "")
    : decode(start === "ASCII\0\0\0" || start === "\0".repeat(8) ? rest : comment, "utf-8");
  let end = text.length;
  while (end && text[end - 1] === "\0") end--;
  if (end > MAX_TEXT) return { kind: "damaged" };
  return { kind: "parameters", text: text.slice(0, end) };
}

/** @param {Uint8Array} bytes @param {string} label @returns {string} throws for what is no text */
function decode(bytes, label) {
  return new TextDecoder(label, { fatal: true, ignoreBOM: true }).decode(bytes);
}

/**
 * UTF-16 with its upper or its lower byte first. Nothing says which; the upper bytes of an infotext are mostly zero.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
function byteOrder(bytes) {
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return "utf-16be";
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return "utf-16le";
  let upper = 0;
  bytes.forEach((byte, at) => { if (!byte) upper += at % 2 ? -1 : 1; });
  return upper >= 0 ? "utf-16be" : "utf-16le";
}

/** @param {Uint8Array} bytes @param {number} start @param {number} end @returns {string} */
function ascii(bytes, start, end) {
  return String.fromCharCode(...bytes.subarray(start, end));
}

/** @param {Uint8Array} bytes @returns {DataView} */
function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
