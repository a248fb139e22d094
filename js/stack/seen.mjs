// @ts-check
/** Work that waits until an element is seen, so that a workflow with hundreds of nodes does not wait for them all. */

/** @type {IntersectionObserver | undefined} */
let observer;
/** @type {WeakMap<Element, () => void>} */
const waiting = new WeakMap();

/**
 * @param {Element} element
 * @param {() => void} run called once
 * @returns {() => void} ends the waiting
 */
export function whenSeen(element, run) {
  observer ??= new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      const seen = waiting.get(target);
      if (!isIntersecting || !seen) continue;
      stop(target);
      seen();
    }
  }, { rootMargin: "200px" });
  waiting.set(element, run);
  observer.observe(element);
  return () => stop(element);
}

/** @param {Element} element */
function stop(element) {
  observer?.unobserve(element);
  waiting.delete(element);
}
