// Colours for code: comments, strings, numbers, and the words of a language, found by one expression for each family of
// languages. It is no grammar: what it does not know stays plain. It reads every letter once, whatever the code is.

import { element } from "../shared/dom.js";

const LONGEST = 50_000;

const BLOCK = "\\/\\*[^]*?(?:\\*\\/|$)";
const HASH = "(?<!\\S)#.*"; // not that of `$#`, or of an address
const WORD = "[\\p{L}_$@][\\w$]*";

// A string ends at its quote, or with the line: code that is still being written has no end yet.
const quoted = (...quotes) => quotes.map((quote) => `${quote}(?:[^${quote}\\\\\\n]|\\\\[^])*${quote}?`).join("|");

function family({ comment, string, word = WORD, words = null }) {
  const parts = [`(?<comment>${comment})`, `(?<string>${string})`, "(?<number>\\d[\\w.]*)", `(?<word>${word})`];
  return { parts: new RegExp(parts.join("|"), "gu"), words: words && new Set(words.split(/\s+/)) };
}

const BRACES = `abstract as async await bool boolean break byte case catch char class const constexpr continue debugger default
  defer delete do double else enum explicit export extends extern false final finally float fn for foreach from func function
  go goto if impl implements import in instanceof int interface internal is let long loop match mod mut namespace new nil null
  nullptr object of override package private protected public pub range readonly return self short sizeof static string struct
  super switch template this throw throws trait true try type typedef typeof undefined union unsafe unsigned use using val var
  virtual void volatile when where while yield`;

const FAMILIES = {
  braces: family({ comment: `\\/\\/.*|${BLOCK}`, string: `${quoted('"', "'")}|\`(?:[^\`\\\\]|\\\\[^])*\`?`, words: BRACES }),
  // Its lone ' begins the name of a lifetime.
  rust: family({ comment: `\\/\\/.*|${BLOCK}`, string: `${quoted('"')}|'(?:[^'\\\\\\n]|\\\\.)'`, words: BRACES }),
  python: family({
    comment: "#.*",
    string: `"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|${quoted('"', "'")}`,
    words: `and as assert async await break case class continue def del elif else except False finally for from global if
      import in is lambda match None nonlocal not or pass raise return self True try while with yield`,
  }),
  hash: family({
    comment: HASH,
    string: `(?<!\\w)(?:${quoted('"', "'")})`,
    words: `and begin break case class def do done echo elif else elsif end ensure esac exit export false fi for function if in
      include local module nil no null off on or require rescue return self set super then true unless unset until when while
      yes yield`,
  }),
  sql: family({
    comment: `--.*|${BLOCK}`,
    string: quoted("'"),
    words: `add all alter and as asc begin between by case check column commit constraint create cross default delete desc
      distinct drop else end exists false foreign from full group having if in index inner insert into is join key left like
      limit not null offset on or order outer over partition primary references returning right rollback select set table
      then true union unique update using values view when where with`,
  }),
  style: family({ comment: BLOCK, string: quoted('"', "'"), word: "@?[\\w-]+", words: "@charset @container @font-face @import @keyframes @layer @media @page @property @supports" }),
  markup: family({ comment: "<!--[^]*?(?:-->|$)", string: `="[^"]*"?|='[^']*'?`, word: "<[\\/!?]?[\\w:-]+|[\\/?]?>" }),
};

const LANGUAGES = new Map();
for (const [name, languages] of Object.entries({
  braces: `c c++ c# cc cpp cs csharp dart go golang groovy h hpp java javascript js json json5 jsonc jsx kotlin kt mjs
    objective-c php proto scala solidity swift ts tsx typescript`,
  rust: "rs rust",
  python: "py python python3",
  hash: `bash conf docker dockerfile elixir fish hcl ini make makefile perl r rb ruby sh shell terraform tf toml yaml yml zsh`,
  sql: "mysql postgresql psql sql sqlite",
  style: "css less scss",
  markup: "html svg vue xml",
})) {
  for (const language of languages.split(/\s+/)) LANGUAGES.set(language, FAMILIES[name]);
}

// Give the parts of `code`, an element that holds only text, their classes.
export function highlight(code, language) {
  const known = LANGUAGES.get(language);
  const text = code.textContent;
  if (!known || text.length > LONGEST) return;
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(known.parts)) {
    const kind = kindOf(match.groups, known.words);
    if (!kind) continue;
    nodes.push(text.slice(done, match.index), element("span", { class: `code__${kind}` }, match[0]));
    done = match.index + match[0].length;
  }
  code.replaceChildren(...nodes, text.slice(done));
}

function kindOf({ comment, string, number, word }, words) {
  if (comment) return "comment";
  if (string) return "string";
  if (number) return "number";
  return !words || words.has(word) || words.has(word.toLowerCase()) ? "word" : null;
}
