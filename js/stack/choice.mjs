// @ts-check
/**
 * What happens to a LoRA that is missing or doesn't fit: one choice for people, and two inputs of the node, `missing`
 * and `policy`, because prompts and workflows have both. `policy` is the one that is shown: what it skips, it skips for
 * missing files, too. Both are shown where they differ, as older workflows may have it: missing files are skipped, and
 * what doesn't fit stops.
 */

import { after, makeRoom } from "../base/canvas.mjs";
import { inputNamed, rootOf, widgetNamed } from "../base/graph.mjs";
import { t } from "../base/words.mjs";

/** @import { App, GraphNode, HookedNode, Widget } from "../types.d.ts" */

const MISSING = "missing";
const POLICY = "policy";

/** Input → value → what people read. @type {Record<string, Record<string, () => string>>} */
const WORDS = {
  [MISSING]: { error: () => t("stop"), skip: () => t("skip") },
  [POLICY]: { refuse: () => t("stop"), warn: () => t("skip and warn"), ignore: () => t("skip silently") },
};

/**
 * Shows the values of a node's `missing` and `policy` in words.
 * @param {GraphNode} node
 */
export function nameChoices(node) {
  for (const [name, words] of Object.entries(WORDS)) {
    const options = widgetNamed(node, name)?.options;
    if (options) options.getOptionLabel = (value) => (Object.hasOwn(words, value ?? "") ? words[value ?? ""]() : String(value));
  }
}

/**
 * Makes one choice of the two inputs of a LoRA Stack.
 * @param {App} app
 * @param {HookedNode} node
 */
export function joinChoices(app, node) {
  const [missing, policy] = [MISSING, POLICY].map((name) => widgetNamed(node, name));
  if (!missing || !policy) return;
  const ofBoth = policy.label;
  let apart = false;
  const show = () => {
    const before = apart;
    apart = areApart(app, node, missing, policy);
    setHidden(missing, !apart);
    const [from, to] = apart ? [ofBoth, t("If a LoRA doesn't fit")] : [t("If a LoRA doesn't fit"), ofBoth];
    if (policy.label === from) policy.label = to; // people may have given it another name
    for (const widget of [missing, policy]) if (isInApp(app, node, widget)) setAdvanced(widget, false);
    if (apart && !before && node.graph && !app.configuringGraph) makeRoom(node);
  };
  after(policy, "callback", () => {
    if (!apart && policy.value === "refuse") missing.value = "error"; // one choice was made for both
    show();
  });
  after(missing, "callback", show);
  after(node, "onConfigure", show);
  after(node, "onConnectionsChange", show);
  show();
  const height = node.computeSize()[1]; // a new node was made with room for both
  if (node.size[1] > height) node.setSize([node.size[0], height]);
}

/**
 * Whether the two say what one choice cannot, or have links, names or places of their own.
 * @param {App} app
 * @param {GraphNode} node
 * @param {Widget} missing
 * @param {Widget} policy
 */
function areApart(app, node, missing, policy) {
  const says = missing.value !== "error" && (policy.value === "refuse" || missing.value !== "skip");
  return says || isInApp(app, node, missing) || [missing, policy].some(({ name }) => inputNamed(node, name)?.link != null);
}

/** @param {App} app @param {GraphNode} node @param {Widget} widget */
function isInApp(app, node, { name }) {
  const inputs = node.graph && rootOf(app)?.extra?.linearData?.inputs;
  return Array.isArray(inputs) && inputs.some((one) => one?.[1] === name && `${one[0]}`.split(":").includes(`${node.id}`));
}

/** @param {Widget} widget @param {boolean} hidden */
function setHidden(widget, hidden) {
  widget.hidden = hidden; // the classic renderer
  if (widget.options) widget.options.hidden = hidden;
}

/** @param {Widget} widget @param {boolean} advanced */
function setAdvanced(widget, advanced) {
  if (widget.options) widget.options.advanced = advanced;
}
