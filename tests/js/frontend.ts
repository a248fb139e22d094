/** Only for the compiler: ComfyUI's published types are what `js/types.d.ts` says that we use of them. */

import type { ComfyApi, ComfyApp } from "@comfyorg/comfyui-frontend-types";
import type { Api, App, Canvas, ExtensionManager, Graph, GraphNode, Link, SubgraphSlot, Widget } from "../../js/types.d.ts";

type TheirGraph = ComfyApp["rootGraph"];
type TheirNode = NonNullable<ReturnType<TheirGraph["getNodeById"]>>;
type TheirWidget = NonNullable<TheirNode["widgets"]>[number];
type TheirLink = NonNullable<ReturnType<TheirGraph["getLink"]>>;
type TheirCanvas = ComfyApp["canvas"];

/** Fails to compile where `Theirs` lacks something that `Ours` names, or has it otherwise. */
type Fits<Ours, Theirs extends Ours> = Theirs;

export type Checked = [
  Fits<Api, ComfyApi>,
  // Their hooks promise their nodes without what their extensions add.
  Fits<Omit<App, "registerExtension">, ComfyApp>,
  Fits<Canvas, TheirCanvas>,
  Fits<ExtensionManager, ComfyApp["extensionManager"]>,
  Fits<Graph, TheirGraph>,
  Fits<GraphNode, TheirNode>,
  Fits<Widget, TheirWidget>,
  Fits<Link, TheirLink>,
];
