// @ts-check
/** Limits and the default weight, each written once: the same as Python's, with which the tests compare them. */

/** Weights are in -WEIGHT_LIMIT … WEIGHT_LIMIT. */
export const WEIGHT_LIMIT = 100;
/** The weight of a row that does not say one. */
export const DEFAULT_WEIGHT = 0.75;
/** Most rows of a stack. */
export const MAX_ROWS = 1000;
/** Most groups of a stack. */
export const MAX_GROUPS = 200;
/** Longest name of a group, in characters. */
export const MAX_GROUP_NAME = 80;
/** Longest text of a stack or a request that is read, in characters. */
export const MAX_TEXT = 4_000_000;
/** Most stacks in one request for badges; the server takes more. */
export const MAX_STACKS = 2000;
/** Longest text of a schedule, in characters. */
export const MAX_SCHEDULE = 100_000;
/** Most keyframes of a schedule, over all its curves. */
export const MAX_KEYFRAMES = 1000;
/** Most steps of a run; a keyframe may be placed at the end of the last one. */
export const MAX_STEPS = 10_000;
export const MAX_SIGMA = 1e9;
