// @ts-check
/** The small picture of a preset: of the last run, or of a file, as a WebP of a few kilobytes. */

import { isPicture } from "../values/preset.mjs";

/** @import { Comfy } from "../types.d.ts" */

const SIDE = 192; // pixels
const QUALITY = 0.8;
const LARGEST = 50_000_000; // bytes of a file

/**
 * @param {Comfy} comfy
 * @returns {string} the address of the last picture that a run has shown; empty if there is none
 */
export function lastPicture({ app, api }) {
  const outputs = Object.values(/** @type {{nodeOutputs?: Record<string, {images?: unknown[]}>}} */ (app).nodeOutputs ?? {});
  const images = outputs.flatMap((output) => (Array.isArray(output?.images) ? output.images : []));
  const last = /** @type {{filename?: string, subfolder?: string, type?: string} | undefined} */ (images.at(-1));
  if (!last?.filename || !/\.(?:png|jpe?g|webp)$/i.test(last.filename)) return "";
  const asked = new URLSearchParams({ filename: last.filename, subfolder: last.subfolder ?? "", type: last.type ?? "output" });
  const address = `/view?${asked}`;
  return /** @type {{apiURL?: (route: string) => string}} */ (api).apiURL?.(address) ?? address;
}

/**
 * @param {string | File} of
 * @returns {Promise<string>} a data URL; empty where it is no picture
 */
export async function thumbnail(of) {
  if (typeof of !== "string" && of.size > LARGEST) return "";
  const address = typeof of === "string" ? of : URL.createObjectURL(of);
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const { naturalWidth: width, naturalHeight: height } = image;
    const side = Math.min(width, height);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = Math.min(SIDE, side);
    canvas.getContext("2d")?.drawImage(image, (width - side) / 2, (height - side) / 2, side, side, 0, 0, canvas.width, canvas.height);
    const url = canvas.toDataURL("image/webp", QUALITY);
    return isPicture(url) ? url : "";
  } catch {
    return "";
  } finally {
    if (typeof of !== "string") URL.revokeObjectURL(address);
  }
}
