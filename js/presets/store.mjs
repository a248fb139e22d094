// @ts-check
/**
 * Presets as files in ComfyUI's user folder, through ComfyUI's own routes for user data: they keep users apart, let no
 * name lead out of the folder, and are the same in all windows.
 */

import { reach } from "../base/server.mjs";
import { t } from "../base/words.mjs";
import { problemOfName, readPreset, writePreset } from "../values/preset.mjs";

/** @import { Comfy } from "../types.d.ts" */
/** @import { Preset } from "../values/preset.mjs" */

const FOLDER = "lorchestra/presets";
const END = ".json";
const MOST = 500;
const AT_ONCE = 6;

/** @param {string} name */
const path = (name) => `/userdata/${encodeURIComponent(`${FOLDER}/${name}${END}`)}`;

/** @param {Response} answer @param {string} name */
function check(answer, name) {
  if (answer.ok) return;
  if (answer.status === 409) throw new Error(t("There is a preset {name}.", { name }));
  if (answer.status === 404) throw new Error(t("The preset {name} is no longer there.", { name }));
  throw new Error(t("the server answered with error {status}", { status: answer.status }));
}

/**
 * @param {Comfy} comfy
 * @returns {Promise<Preset[]>} by name; those that cannot be used say why
 */
export async function loadPresets(comfy) {
  const answer = await reach(comfy, `/userdata?dir=${encodeURIComponent(FOLDER)}&recurse=false&split=false&full_info=false`);
  if (answer.status === 404) return []; // nothing was saved yet
  if (!answer.ok) throw new Error(t("the server answered with error {status}", { status: answer.status }));
  const listed = await answer.json().catch(() => []);
  const files = Array.isArray(listed) ? listed.filter((file) => typeof file === "string" && file.toLowerCase().endsWith(END)) : [];
  const names = files.map((file) => file.slice(0, -END.length)).filter((name) => !problemOfName(name)).slice(0, MOST);
  /** @type {Preset[]} */
  const presets = [];
  for (let at = 0; at < names.length; at += AT_ONCE) {
    presets.push(...await Promise.all(names.slice(at, at + AT_ONCE).map((name) => loadPreset(comfy, name))));
  }
  const { compare } = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  return presets.sort((one, other) => compare(one.name, other.name));
}

/** @param {Comfy} comfy @param {string} name @returns {Promise<Preset>} */
async function loadPreset(comfy, name) {
  try {
    const answer = await reach(comfy, path(name));
    check(answer, name);
    return readPreset(name, await answer.text());
  } catch (error) {
    return { ...readPreset(name, "{}"), problem: /** @type {Error} */ (error).message };
  }
}

/**
 * @param {Comfy} comfy
 * @param {Preset} preset
 * @param {boolean} overwrite whether one of that name may be replaced
 */
export async function savePreset(comfy, preset, overwrite) {
  const problem = problemOfName(preset.name);
  if (problem) throw new Error(problem);
  check(await reach(comfy, `${path(preset.name)}?overwrite=${overwrite}`, { method: "POST", body: writePreset(preset) }), preset.name);
}

/** @param {Comfy} comfy @param {string} name */
export async function deletePreset(comfy, name) {
  check(await reach(comfy, path(name), { method: "DELETE" }), name);
}

/** @param {Comfy} comfy @param {string} name @param {string} next */
export async function renamePreset(comfy, name, next) {
  const problem = problemOfName(next);
  if (problem) throw new Error(problem);
  check(await reach(comfy, `${path(name)}/move/${encodeURIComponent(`${FOLDER}/${next}${END}`)}?overwrite=false`, { method: "POST" }), next);
}
