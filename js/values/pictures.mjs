// @ts-check
/** The text that a program wrote into a picture, whichever of PNG, JPEG and WebP it is. */

import { findInJpeg, findInWebp, isJpeg, isWebp } from "./exif.mjs";
import { findParameters as findInPng } from "./png.mjs";

export const PICTURES = ["image/png", "image/jpeg", "image/webp"];

/**
 * @param {Uint8Array} bytes a whole file
 * @returns {Promise<import("./png.mjs").Found>}
 */
export async function findParameters(bytes) {
  if (isJpeg(bytes)) return findInJpeg(bytes);
  if (isWebp(bytes)) return findInWebp(bytes);
  return findInPng(bytes);
}
