// @ts-check
/** One job of a published workflow: how far it is, cancel, and what came out. */

import { create } from "../base/dom.mjs";
import { asSentence, t } from "../base/words.mjs";
import { call, readAsset } from "./service.mjs";

/** @import { Comfy } from "../types.d.ts" */

const PAUSE = 400; // between two questions, in milliseconds
const MOST_TEXT = 100_000; // characters that are shown

/**
 * As the Comfy API v2 has them.
 * @typedef {object} Job
 * @property {string} id
 * @property {"queued" | "running" | "canceling" | "succeeded" | "canceled" | "failed" | "expired"} status
 * @property {number | null} queue_position
 * @property {{value: number, step?: number | null, steps?: number | null, current_node_class?: string | null} | null} progress
 * @property {Output[]} outputs
 * @property {{message: string} | null} error
 *
 * @typedef {{id: string, name: string, type: string, content_type: string}} Output
 */

/**
 * @param {Comfy} comfy
 * @param {object} options
 * @param {(isRunning: boolean) => void} options.onChange
 * @param {(error: unknown) => void} options.onProblem
 */
export function createRun(comfy, { onChange, onProblem }) {
  /** @type {Set<string>} addresses of files that are shown */
  const shown = new Set();
  let current = "";
  const bar = create("progress", { max: 1, "aria-label": t("Progress of the run") });
  const says = create("span", { role: "status", "aria-live": "polite" });
  const cancel = create("button", { type: "button", class: "lorchestra-button", text: t("Cancel"), onclick: () => void stop() });
  const progress = create("div", { class: "lorchestra-publish-progress", hidden: true }, says, bar, cancel);
  const ended = create("p", { class: "lorchestra-publish-says", "aria-live": "polite" });
  const results = create("ul", { class: "lorchestra-publish-results", "aria-label": t("What came out") });
  const element = create("div", {}, progress, ended, results);

  const stop = async () => {
    cancel.disabled = true;
    await call(comfy, "POST", `/api/v2/jobs/${current}/cancel`).catch(onProblem);
  };

  const forget = () => {
    for (const address of shown) URL.revokeObjectURL(address);
    shown.clear();
    results.replaceChildren();
    ended.textContent = "";
  };

  /** @param {Job} job */
  const showProgress = (job) => {
    const { progress: far, queue_position: place } = job;
    if (far) bar.value = far.value;
    else bar.removeAttribute("value");
    const words = job.status === "queued" ? (place && place > 1 ? t("Waiting; {count} before it", { count: place - 1 }) : t("Waiting…"))
      : job.status === "canceling" ? t("Canceling…")
        : far?.step && far.steps ? t("Step {step} of {steps}", { step: far.step, steps: far.steps }) : t("Running…");
    if (says.textContent !== words) says.textContent = words;
  };

  /** @param {Output} output @returns {Promise<HTMLElement>} */
  const show = async (output) => {
    const blob = await readAsset(comfy, output.id);
    const address = URL.createObjectURL(blob);
    shown.add(address);
    const kind = output.content_type.split("/")[0];
    const link = create("a", { href: address, download: output.name, text: output.name });
    const picture = kind === "image" ? create("img", { src: address, alt: output.name })
      : kind === "video" ? create("video", { src: address, controls: true, loop: true })
        : kind === "audio" ? create("audio", { src: address, controls: true })
          : kind === "text" ? create("pre", { text: (await blob.text()).slice(0, MOST_TEXT), tabIndex: 0, "aria-label": output.name }) : null;
    return create("li", {}, picture, link);
  };

  return {
    element,
    close() {
      current = "";
      forget();
    },
    /**
     * Shows a job until it has ended.
     * @param {unknown} begun
     */
    async follow(begun) {
      forget();
      let job = /** @type {Job} */ (begun);
      const { id } = job;
      current = id;
      onChange(true);
      progress.hidden = false;
      cancel.disabled = false;
      try {
        while (["queued", "running", "canceling"].includes(job.status)) {
          showProgress(job);
          await new Promise((done) => setTimeout(done, PAUSE));
          if (current !== id) return;
          job = /** @type {Job} */ (await call(comfy, "GET", `/api/v2/jobs/${id}`));
        }
        const elements = job.status === "succeeded" ? await Promise.all(job.outputs.map(show)) : [];
        if (current !== id) return;
        const isDone = job.status === "succeeded";
        ended.className = `lorchestra-publish-says lorchestra-${isDone ? "good" : "bad"}`;
        ended.textContent = isDone ? t("Done.") : job.status === "canceled" ? t("Canceled.")
          : asSentence(job.error?.message ?? t("The job ended without a result: {status}", { status: job.status }));
        results.replaceChildren(...elements);
        element.scrollIntoView({ block: "nearest" });
      } catch (error) {
        onProblem(error);
      } finally {
        if (current === id || !current) {
          progress.hidden = true;
          onChange(false);
        }
      }
    },
  };
}
