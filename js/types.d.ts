/**
 * What we use of ComfyUI's frontend, and nothing else, in every version that we support: what only some have is optional
 * here. `tests/js/frontend.ts` lets the compiler compare it with the types that ComfyUI publishes.
 */

/** What nearly everything of ours gets: ComfyUI's two objects. */
export interface Comfy {
  app: App;
  api: Api;
}

export interface Api {
  fetchApi(route: string, options?: RequestInit): Promise<Response>;
  apiURL(route: string): string;
  fileURL?(route: string): string;
  addEventListener(type: string, listener: (event: Event) => void): void;
  removeEventListener(type: string, listener: (event: Event) => void): void;
}

export interface App {
  /** The outermost graph; older frontends have it only as `graph.rootGraph`. */
  rootGraph?: Graph;
  /** The graph that is shown. */
  graph?: Graph & { rootGraph?: Graph };
  canvas: Canvas;
  configuringGraph?: boolean;
  extensionManager: ExtensionManager;
  collectNodeMenuItems?: unknown;
  graphToPrompt(): Promise<{ output: Prompt }>;
  /** Opens a workflow file, or a picture that has one. */
  handleFile?(file: File): Promise<unknown>;
  registerExtension(extension: Extension): void;
}

/** Our extension, as it hands its hooks to ComfyUI. */
export interface Extension {
  name: string;
  settings?: HandedBack[];
  commands?: { id: string; label: string; icon: string; function: () => void }[];
  menuCommands?: { path: string[]; commands: string[] }[];
  getCustomWidgets?(): Record<string, (node: HookedNode, name: string, inputData: InputData) => HandedBack>;
  nodeCreated?(node: HookedNode): void;
  loadedGraphNode?(node: GraphNode): void;
  getNodeMenuItems?(node: GraphNode): MenuItem[];
  /** Newer frontends; null is a line. */
  getCanvasMenuItems?(): (MenuItem | null)[];
  setup?(): Promise<void>;
  beforeConfigureGraph?(workflow: unknown): void;
  afterConfigureGraph?(): void;
  refreshComboInNodes?(): Promise<void>;
}

export interface ExtensionManager {
  toast?: { add(message: { severity: Severity; summary: string; detail: string; life: number }): void };
  setting?: { get(id: string): unknown; set?(id: string, value: unknown): unknown };
  registerSidebarTab?(tab: HandedBack): void;
  workflow?: { activeWorkflow?: { filename?: string; changeTracker?: ChangeTracker } | null };
}

/** ComfyUI's steps of undo. Private to ComfyUI; any of it may be missing. */
export interface ChangeTracker {
  undoQueue?: unknown[];
  redoQueue?: unknown[];
  /** The workflow as it was at the last step, and as it was saved or opened. */
  activeState?: unknown;
  initialState?: unknown;
  /** Whether undo or redo is at work. */
  _restoringState?: boolean;
  captureCanvasState?(): void;
  /** Older frontends. */
  checkState?(): void;
  undo(): Promise<unknown>;
}

export type Severity = "success" | "info" | "warn" | "error";

export interface Canvas {
  canvas: HTMLCanvasElement;
  graph: Graph | null;
  ds: { scale: number; offset?: Point };
  /** Newer frontends. */
  selectedItems?: Iterable<unknown>;
  selected_nodes: Record<string, GraphNode>;
  emitBeforeChange?(): void;
  emitAfterChange?(): void;
  processMouseWheel(event: WheelEvent): void;
  processMouseDown(event: PointerEvent): void;
  processMouseMove(event: PointerEvent): void;
  processMouseUp(event: PointerEvent): void;
  convertEventToCanvasOffset?(event: MouseEvent): Point;
  deselectAll?(): void;
  selectNode?(node: HandedBack): void;
  centerOnNode?(node: HandedBack): void;
  setGraph?(graph: HandedBack): void;
  /** `from`: newer frontends. */
  openSubgraph?(subgraph: HandedBack, from: HandedBack): void;
  setDirty?(foreground: boolean, background?: boolean): void;
}

/** A prompt in API format. */
export type Prompt = Record<string, PromptNode>;

export interface PromptNode {
  class_type: string;
  inputs: Record<string, unknown>;
}

export type NodeId = number | string;

/** A node, widget or slot that goes back to ComfyUI: that it came from there is more than the compiler can know. */
export type HandedBack = any;

export interface Graph {
  id?: string;
  /** The outermost graph. */
  rootGraph?: Graph;
  nodes?: GraphNode[];
  /** Older frontends. */
  _nodes?: GraphNode[];
  links?: Links;
  _links?: Links;
  /** A subgraph's own slots. */
  inputs?: SubgraphSlot[];
  outputs?: SubgraphSlot[];
  /** What was numbered last; a subgraph's is that of the outermost graph. */
  state?: { lastLinkId: number };
  /** What is saved with it besides. */
  extra?: HandedBack;
  serialize?(): object;
  /** Called with every copy that is saved or compared, before it is. */
  onSerialize?(workflow: HandedBack): void;
  add(node: HandedBack): unknown;
  remove(node: HandedBack): void;
  /** A subgraph's; its nodes lose theirs with it. */
  removeInput?(input: HandedBack): void;
  getNodeOnPos?(x: number, y: number): GraphNode | null | undefined;
  getNodeById(id: NodeId | null | undefined): GraphNode | null;
  getLink?(id: number | null | undefined): Link | undefined;
}

/** A map in newer frontends, an object in older ones; or both at once. */
export type Links = { get?(id: number): Link | undefined } | { [id: number]: Link };

export interface Link {
  id: number;
  origin_id: NodeId;
  origin_slot: number;
  target_id: NodeId;
  target_slot: number;
  /** The last reroute on its way, if any. */
  parentId?: number;
}

export interface SubgraphSlot {
  name: string;
  linkIds: number[];
  connect(slot: HandedBack, node: HandedBack, reroute?: number): unknown;
}

export interface InputSlot {
  name: string;
  type: unknown;
  link: number | null;
  widget?: { name: string };
}

export interface OutputSlot {
  name: string;
  type: unknown;
  label?: string;
  links: number[] | null;
}

export interface GraphNode {
  id: NodeId;
  type?: string;
  comfyClass?: string;
  title: string;
  mode: number;
  pos: Point;
  size: Point;
  flags: { collapsed?: boolean };
  color?: string;
  bgcolor?: string;
  graph?: Graph | null;
  inputs: InputSlot[];
  outputs: OutputSlot[];
  widgets?: Widget[];
  isVirtualNode?: boolean;
  /** The subgraph behind a subgraph's node. */
  subgraph?: Graph;
  /** Of a node whose pack is not installed: what it was loaded from, and is saved as. */
  last_serialization?: SavedNode;
  computeSize(): Point;
  setSize(size: [number, number]): void;
  setDirtyCanvas?(foreground: boolean, background?: boolean): void;
  collapse?(force?: boolean): void;
  /** With the values by name in newer frontends. */
  serialize(): { widgets_values?: unknown; widgets_values_named?: Record<string, unknown> };
  connect(slot: number, node: HandedBack, target: number, reroute?: number): unknown;
  getInputLink?(slot: number): Link | null;
  /** Newer frontends: what a node stands for that carries a link without a line, perhaps from another graph. */
  resolveVirtualOutput?(slot: number): { node: GraphNode; slot: number } | undefined;
  isSubgraphNode?(): boolean;
  getExtraMenuOptions?(canvas: HandedBack, options: HandedBack[]): unknown;
}

export interface SavedNode {
  widgets_values?: unknown;
  widgets_values_named?: Record<string, unknown>;
  inputs?: { name: string; link?: number | null }[];
  outputs?: { name: string; links?: number[] | null }[];
}

/** A node as ComfyUI's own hooks hand it out; the published types leave out what its extensions add. */
export interface HookedNode extends SubgraphNode {
  /** The pictures of the last run, and which of them is shown large. */
  imgs?: unknown[];
  imageIndex?: number | null;
  /** Whether it takes what is dragged over it, and what it does with it; true if nobody else need do anything. */
  onDragOver?(event: DragEvent): boolean;
  onDragDrop?(event: DragEvent): Promise<boolean> | boolean;
  addDOMWidget(name: string, type: string, element: HTMLElement, options: DomWidgetOptions): DomWidget;
}

/** A pair of numbers, as an array or as a part of one. */
export interface Point {
  [index: number]: number;
  0: number;
  1: number;
  [Symbol.iterator](): Iterator<number>;
}

export interface Widget {
  name: string;
  type: string;
  value?: unknown;
  label?: string;
  /** Newer frontends; App mode's rows carry it. */
  widgetId?: string;
  element?: HTMLElement;
  hidden?: boolean;
  options?: WidgetOptions;
  serialize?: boolean;
  serializeValue?: unknown;
  callback?(value: unknown): unknown;
  onRemove?(): void;
}

export interface WidgetOptions {
  hidden?: boolean;
  /** Nodes 2.0: shown with the node's advanced inputs. */
  advanced?: boolean;
  /** Newer frontends: what people read for a value of a choice. */
  getOptionLabel?(value?: string | null): string;
}

export interface DomWidget extends Widget {
  element: HTMLElement;
}

export interface DomWidgetOptions {
  getValue(): string;
  setValue(value: unknown): void;
  getMinHeight?(): number;
  getMaxHeight?(): number | undefined;
  hideOnZoom?: boolean;
  /** Newer frontends: not in the panel at the side. */
  hideInPanel?: boolean;
  serialize?: boolean;
}

/** An input's type and options, as `/object_info` has them. */
export type InputData = [type: string, options?: { default?: string }];

/** What a node's menu takes. */
export interface MenuItem {
  content: string;
  disabled?: boolean;
  callback(): void;
}

/** What a subgraph's node has of its own to show promoted widgets. Private to ComfyUI; any of it may be missing. */
export interface SubgraphNode extends GraphNode {
  createPromotedHostWidget?(input: PromotedInput, id: unknown, source: Widget | undefined): Widget | undefined;
  _projectPromotedWidget?(input: PromotedInput): PromotedValue | undefined;
}

export interface PromotedInput extends InputSlot {
  _widget?: Widget;
}

/** The value of a promoted widget, which belongs to the subgraph's node. */
export interface PromotedValue {
  value: unknown;
  label?: string;
  widgetId?: string;
}

/** What the page has of ComfyUI beside its two objects. */
export interface Page {
  LiteGraph?: {
    vueNodesMode?: boolean;
    createNode(type: string): GraphNode | null;
    isValidConnection?(from: unknown, to: unknown): boolean;
  };
  comfyAPI?: {
    domWidget?: {
      DOMWidgetImpl?: new (of: {
        node: GraphNode;
        name: string;
        type: string;
        element: HTMLElement;
        options: DomWidgetOptions;
      }) => DomWidget;
      addWidget?(host: { addCustomWidget(): void; graph: unknown }, widget: Widget): void;
    };
  };
}
