// @ts-check
/** A text's CRC-32, as zlib has it: tells whether two texts that people and programs wrote are the same. */

const POLYNOMIAL = 0xedb88320;

/**
 * @param {string} text
 * @returns {string} of its UTF-8, in eight digits: "cbf43926" for "123456789"
 */
export function crc32(text) {
  let sum = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ POLYNOMIAL : sum >>> 1;
  }
  return ((sum ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
}
