// @ts-check
/**
 * The text that a program wrote into a PNG picture, found without decoding a pixel. Python has the same reader for the
 * command line: `lorchestra/exchange/png.py`. Source: Portable Network Graphics (W3C, third edition), §5 and §11.3.3.
 */

import { MAX_TEXT } from "./limits.mjs";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const MAX_CHUNKS = 200_000;
const COMFYUI = ["prompt", "workflow"];

/**
 * What a picture says of how it was made: `parameters` is the text of A1111, Forge, Fooocus or SwarmUI; `comfyui` is said
 * by ComfyUI's own pictures; `none` by all others; `damaged` by what is no whole PNG, or has too long a text.
 * @typedef {{ kind: "parameters", text: string } | { kind: "comfyui" | "none" | "damaged" }} Found
 */

/**
 * @param {Uint8Array} bytes a whole file
 * @returns {Promise<Found>}
 */
export async function findParameters(bytes) {
  if (SIGNATURE.some((byte, index) => bytes[index] !== byte)) return { kind: "damaged" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let isComfyUI = false;
  /** @type {{ type: string, body: Uint8Array } | undefined} the last one, as Pillow and Python's reader have it */
  let found;
  let at = SIGNATURE.length;
  for (let count = 0; at + 8 <= bytes.length && count < MAX_CHUNKS; count++) {
    const size = view.getUint32(at);
    const type = latin1(bytes.subarray(at + 4, at + 8));
    if (type === "IEND") break;
    const end = at + 8 + size;
    if (["tEXt", "zTXt", "iTXt"].includes(type)) {
      const keyword = keywordOf(bytes.subarray(at + 8, at + 88));
      if (COMFYUI.includes(keyword)) isComfyUI = true;
      if (keyword === "parameters") {
        if (end + 4 > bytes.length || size > MAX_TEXT) return { kind: "damaged" };
        found = { type, body: bytes.subarray(at + 8 + keyword.length + 1, end) };
      }
    }
    at = end + 4;
  }
  if (!found) return { kind: isComfyUI ? "comfyui" : "none" };
  const text = await textOf(found.type, found.body);
  return text === null ? { kind: "damaged" } : { kind: "parameters", text };
}

/** @param {Uint8Array} bytes the beginning of a chunk of text @returns {string} empty if there is none */
function keywordOf(bytes) {
  const end = bytes.indexOf(0);
  return end > 0 && end < 80 ? latin1(bytes.subarray(0, end)) : "";
}

/**
 * @param {string} type
 * @param {Uint8Array} body what is behind the keyword
 * @returns {Promise<string | null>} null if it cannot be read
 */
async function textOf(type, body) {
  if (type === "tEXt") return latin1(body);
  if (type === "zTXt") {
    const inflated = body[0] === 0 ? await inflate(body.subarray(1)) : null;
    return inflated && latin1(inflated);
  }
  const isCompressed = body[0] === 1;
  const language = body.indexOf(0, 2);
  const start = language < 0 ? 0 : body.indexOf(0, language + 1) + 1; // behind the language and the translated keyword
  if (!start || (isCompressed && body[1] !== 0)) return null;
  const inner = body.subarray(start);
  const bytes = isCompressed ? await inflate(inner) : inner;
  try {
    return bytes && new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<Uint8Array | null>} null for what is damaged or becomes too long
 */
async function inflate(bytes) {
  const stream = new Blob([/** @type {BlobPart} */ (bytes)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  /** @type {Uint8Array[]} */
  const parts = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      if (length > MAX_TEXT) {
        await reader.cancel();
        return null;
      }
      parts.push(value);
    }
  } catch {
    return null;
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param {Uint8Array} bytes @returns {string} each byte as the character of its number; `TextDecoder` has windows-1252 */
function latin1(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}
