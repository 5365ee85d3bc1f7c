// What the boxes that people write messages into have in common.

// As `MAX_TEXT_BYTES` of `agents/domain/message_parts.py`.
const LONGEST_BYTES = 64 * 1024;
const BYTES_OF_A_UNIT = 3; // at most, of one unit of UTF-16

// Whether this press of a key sends what is written. Enter also ends the composition of a word, and Safari tells of that
// press only after the composition is over, as key 229. On a phone it begins a new line.
export function isSendKey(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return false;
  return !matchMedia("(pointer: coarse)").matches;
}

// Why `text` is too long to be sent; null: it is not.
export function lengthError(text) {
  if (text.length * BYTES_OF_A_UNIT <= LONGEST_BYTES) return null;
  const bytes = new TextEncoder().encode(text).length;
  if (bytes <= LONGEST_BYTES) return null;
  const size = Math.ceil(bytes / 1024);
  return `This is too long to send: it has ${size} KB, and a message holds ${LONGEST_BYTES / 1024}. Shorten it, or send it in parts.`;
}

// Make `field` as high as what it holds.
export function autosize(field, tallest) {
  field.style.height = "auto";
  const borders = field.offsetHeight - field.clientHeight;
  field.style.height = `${Math.min(field.scrollHeight + borders, tallest)}px`;
}
