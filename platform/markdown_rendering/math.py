r"""Formulas in LaTeX stay as they were written: `\(…\)`, `\[…\]`, `$…$`, `$$…$$` and `\begin{…}…\end{…}`.

Nothing sets them, but Markdown takes neither their backslashes nor their `_` and `*` for its own. What is not closed is
ordinary text, so that an answer that is being written never vanishes into a formula; only a delimiter that stands alone
on its line begins a block which the end of its paragraph closes. Prices are none, by rules like Pandoc's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

# So many characters of a text are looked at for the ends of formulas: 64 KB of beginnings would each read to the end.
_MAX_LOOK_AHEAD = 1_000_000
_MAX_INLINE, _MAX_LINES = 5_000, 200
_BEGIN = re.compile(r"\\begin\{([A-Za-z]{1,30}\*?)\}")
_AFTER_BLOCK = re.compile(r"[ \t.,;]*")
# Next to such a letter or digit a `$` is a price or a variable. Scripts without spaces write close to a formula.
_LATIN = re.compile(r"[A-Za-z0-9]")
_CLOSERS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}


def math_plugin(md: MarkdownIt) -> None:
    """Add the rules and their rendering: `pre` and `code` of the class `math`."""
    md.inline.ruler.before("escape", "math", _inline)
    md.block.ruler.before("fence", "math", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    md.add_render_rule("math_inline", _render_inline)
    md.add_render_rule("math_block", _render_block)


def _inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "\\$":
        return False
    end = _end_of_inline(state)
    if end is None:
        return False
    if not silent:
        state.push("math_inline", "code", 0).content = state.src[state.pos : end]
    state.pos = end
    return True


def _end_of_inline(state: StateInline) -> int | None:
    """Where the formula ends that begins here; None: none does."""
    src, start = state.src, state.pos
    if (environment := _BEGIN.match(src, start)) is not None:
        return _find(state, f"\\end{{{environment[1]}}}", environment.end())
    if (closer := _CLOSERS.get(src[start : start + 2])) is not None:
        end = _find(state, closer, start + 2)
        return end if end is None or src[start + 2 : end - 2].strip() else None
    if src[start] != "$" or _LATIN.match(src, max(start - 1, 0)) or src[start + 1 : start + 2].isspace():
        return None
    end = _find(state, "$", start + 1)
    if end is None or end == start + 2 or src[end - 2].isspace() or _LATIN.match(src, end):
        return None
    return end


def _find(state: StateInline, closer: str, start: int) -> int | None:
    """The end of the first `closer` from `start` on that no backslash escapes."""
    limit = min(state.posMax, start + _MAX_INLINE)
    at = state.src.find(closer, start, limit)
    while at > start and _escaped(state.src, at):
        at = state.src.find(closer, at + 1, limit)
    state.env["math"] = state.env.get("math", _MAX_LOOK_AHEAD) - ((limit if at < 0 else at) - start)
    return None if at < 0 or state.env["math"] < 0 else at + len(closer)


def _escaped(src: str, at: int) -> bool:
    backslashes = len(src[max(at - 50, 0) : at]) - len(src[max(at - 50, 0) : at].rstrip("\\"))
    return backslashes % 2 == 1


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula that begins a line and ends another, or the same."""
    if state.is_code_block(start):
        return False
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    environment = _BEGIN.match(first)
    opener = environment[0] if environment else first[:2]
    closer = f"\\end{{{environment[1]}}}" if environment else _CLOSERS.get(opener)
    if closer is None or opener == "\\(":
        return False
    last = _last_line(state, start, end, opener, closer)
    if last is None:
        return False
    if not silent:
        token = state.push("math_block", "pre", 0)
        token.content = state.getLines(start, last + 1, state.blkIndent, False)
        token.map = [start, last + 1]
        state.line = last + 1
    return True


def _last_line(state: StateBlock, start: int, end: int, opener: str, closer: str) -> int | None:
    """The line that the block ends with; None: it is none, or text follows it on its line."""
    alone = False
    for line in range(start, min(end, start + _MAX_LINES)):
        begin = state.bMarks[line] + state.tShift[line]
        text = state.src[begin : state.eMarks[line]]
        state.env["math"] = state.env.get("math", _MAX_LOOK_AHEAD) - len(text) - 20
        if state.env["math"] < 0:
            return None
        if line == start:
            text = text[len(opener) :]
            alone = not text.strip()
        elif not text.strip() or state.sCount[line] < state.blkIndent:
            return line - 1 if alone and (opener != "$$" or line > start + 1) else None
        at = text.find(closer)
        while at > 0 and _escaped(text, at):
            at = text.find(closer, at + 1)
        if at >= 0:
            return line if _AFTER_BLOCK.fullmatch(text, at + len(closer)) and (line > start or at > 0) else None
    closed = alone and end <= start + _MAX_LINES and (opener != "$$" or end > start + 1)
    return end - 1 if closed else None


def _render_inline(_self: Any, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    return f'<code class="math" dir="ltr">{escapeHtml(tokens[index].content)}</code>'


def _render_block(_self: Any, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    return f'<pre class="math" dir="ltr">{escapeHtml(tokens[index].content)}</pre>\n'
