// Text that people read is cut between the characters that they see: an emoji or a syllable is several units of a string.

const segmenter = window.Intl?.Segmenter ? new Intl.Segmenter() : null;

// `text`, or its beginning of at most `length` units.
export function cutText(text, length) {
  if (text.length <= length) return text;
  if (!segmenter) return text.slice(0, length);
  // Whether a character ends at `length` depends on what follows; two units hold any one code point.
  const last = segmenter.segment(text.slice(0, length + 2)).containing(length);
  return text.slice(0, last.index || length);
}
