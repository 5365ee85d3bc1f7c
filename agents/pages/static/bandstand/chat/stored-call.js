// The arguments of a call that a person is to agree to: exactly what is stored, and nothing that the eye misses. No DOM.

// A number as it is written: what JavaScript makes of a long one is another number.
export class ExactNumber {
  constructor(source) {
    this.source = source;
  }
}

// `{value}`: what `text`, JSON, holds, its numbers as `ExactNumber`; null when it is no JSON, or the browser does not say how
// a number is written that it may have rounded.
export function parseExactly(text) {
  let exact = true;
  const keep = (_key, value, context) => {
    if (typeof value !== "number") return value;
    const source = context?.source ?? String(value);
    exact &&= text.includes(source);
    return new ExactNumber(source);
  };
  try {
    const value = JSON.parse(text, keep);
    return exact ? { value } : null;
  } catch {
    return null;
  }
}

// Characters that show nothing, or turn round what follows. Those that scripts join their letters with stay.
// oxlint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;

// `text` with each such character written as its number: `⟨U+202E⟩`.
export function reveal(text) {
  return text.replace(UNSEEN, (character) => `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}
