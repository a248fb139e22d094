// @ts-check
/**
 * Work that waits until its element can be seen and read, so that a workflow with hundreds of nodes does not wait for
 * them all. What is due is done in small parts, a few milliseconds in each frame.
 */

const BUDGET = 10; // milliseconds in a frame
const LOOK = 200; // milliseconds between looks at elements that are too small to be read

/**
 * @typedef {object} Waiting
 * @property {() => void} run
 * @property {() => boolean} isReadable
 */

/** @type {IntersectionObserver | undefined} */
let observer;
/** @type {WeakMap<Element, Waiting>} */
const waiting = new WeakMap();
/** @type {Set<Element>} seen, and not done yet */
const due = new Set();
let planned = false;

/**
 * @param {Element} element
 * @param {() => boolean} isReadable asked while the element is inside the window, for elements on the canvas
 * @param {() => void} run called once
 * @returns {() => void} ends the waiting
 */
export function whenSeen(element, isReadable, run) {
  observer ??= new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && waiting.has(target)) due.add(target);
      else due.delete(target);
    }
    plan(0);
  }, { rootMargin: "200px" });
  waiting.set(element, { run, isReadable });
  observer.observe(element);
  return () => stop(element);
}

/** @param {Element} element */
function stop(element) {
  observer?.unobserve(element);
  waiting.delete(element);
  due.delete(element);
}

/** @param {number} delay */
function plan(delay) {
  if (planned || !due.size) return;
  planned = true;
  const work = () => {
    planned = false;
    plan(workFor(BUDGET) ? 0 : LOOK);
  };
  if (delay) setTimeout(work, delay);
  else requestAnimationFrame(work);
}

/**
 * @param {number} budget
 * @returns {boolean} whether it stopped because the time was over
 */
function workFor(budget) {
  const end = performance.now() + budget;
  for (const element of due) {
    const { run, isReadable } = /** @type {Waiting} */ (waiting.get(element));
    if (!isReadable() && !isFullSize(element)) continue;
    stop(element);
    run();
    if (performance.now() > end) return true;
  }
  return false;
}

/**
 * Whether an element is drawn in its own size: App mode takes it off the canvas, whose scale says nothing of it then.
 * @param {Element} element
 */
function isFullSize(element) {
  const width = /** @type {HTMLElement} */ (element).offsetWidth;
  return width > 0 && element.getBoundingClientRect().width >= 0.99 * width;
}
