"""Our Markdown: CommonMark without raw HTML, with tables, strikethrough and bare addresses as links.

Differences, and why: an image becomes a link, because loading it would tell its server who reads what; links need one
of `SCHEMES`, because a relative one would lead into our own pages; a single line break is kept, as people expect in a
chat; only whole addresses become links by themselves, because `.py` ends the names of files as well as of hosts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from linkify_it import LinkifyIt
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline, link
from markdown_it.token import Token

SCHEMES = frozenset({"http", "https", "mailto"})
LANGUAGE = re.compile(r"[a-z0-9_+#.-]{1,32}")

# Lists cost two levels each. What lies deeper is lost, so it is a bound that nobody reaches by writing.
_MAX_NESTING = 40
# markdown-it-py 4.3.0 fills up short rows, 65,536 cells at most (markdown-it/markdown-it#1000): a header of 200 cells
# over rows of one character made 27 MB of 64 KB, in 50 s.
_MAX_COLUMNS, _MAX_CELLS = 100, 10_000
# Each bracket that opens is tried, and what stands within it too: 64 KB of them took 1.2 s (markdown-it-py 4.3.0).
_MAX_LINK_TRIES = 5_000
# Quotation marks, and punctuation that no space follows in its script. What may be an apostrophe is one inside of it.
_END_OF_ADDRESS = re.compile("[“”„‟«»‹›。，、；：！？」』）】》]")  # noqa: RUF001
_NOT_LAST = "‘’.,;:!?"  # noqa: RUF001
# Without brackets within: nested ones made the library's own rule slower with every level.
_IMAGE = re.compile(r'!\[([^\[\]\n]{0,1000})\]\([ \t]*<?([^\s<>()"]{1,2000})>?(?:[ \t]+"[^"\n]{0,500}")?[ \t]*\)')


@cache
def parser() -> MarkdownIt:
    """The parser. It keeps nothing between texts, so threads may share it."""
    md = MarkdownIt("commonmark", {"html": False, "linkify": True, "breaks": True, "maxNesting": _MAX_NESTING})
    md.enable(["table", "strikethrough", "linkify"])
    md.linkify = _addresses()
    md.validateLink = _allowed  # type: ignore[method-assign]
    md.inline.ruler.at("image", _image)
    md.inline.ruler.at("link", _link)
    md.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    md.core.ruler.push("alignment", _alignment)
    md.add_render_rule("fence", _fence)
    return md


class _Addresses(LinkifyIt):  # type: ignore[misc]  # it is not typed
    """Bare addresses, without what closes a quotation or a sentence around them."""

    def test_schema_at(self, text: str, name: str, position: int) -> int:
        """How many of the characters from `position` on belong to the address whose scheme stands before it."""
        length: int = super().test_schema_at(text, name, position)
        address = _END_OF_ADDRESS.split(text[position : position + length], maxsplit=1)[0]
        return len(address.rstrip(_NOT_LAST))


def _addresses() -> LinkifyIt:
    linkifier = _Addresses(options={"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})
    for scheme in ("ftp:", "//"):
        linkifier.add(scheme, None)
    return linkifier


def _allowed(url: str) -> bool:
    scheme, colon, _ = url.strip().lower().partition(":")
    return bool(colon) and scheme in SCHEMES


def _image(state: StateInline, silent: bool) -> bool:
    """`![words](address)` as a link; as its words inside another link, or where the address is not one of ours."""
    match = _IMAGE.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        url = state.md.normalizeLink(match[2])
        linked = _allowed(url) and state.linkLevel == 0
        if linked:
            state.push("link_open", "a", 1).attrs = {"href": url}
        state.push("text", "", 0).content = match[1] or match[2]
        if linked:
            state.push("link_close", "a", -1)
    state.pos = match.end()
    return True


def _link(state: StateInline, silent: bool) -> bool:
    """The library's link, as long as the text has tries left; further brackets are text."""
    remaining: int = state.env.get("links", _MAX_LINK_TRIES)
    if not remaining:
        return False
    state.env["links"] = remaining - 1
    return link(state, silent)


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """The library's table, as long as the text has cells left; further rows are paragraphs."""
    remaining: int = state.env.get("cells", _MAX_CELLS)
    columns = state.src.count("|", state.bMarks[start], state.eMarks[start]) + 1
    rows = remaining // columns
    if columns > _MAX_COLUMNS or rows < 2 or not table(state, start, min(end, start + 1 + rows), silent):
        return False
    if not silent:
        state.env["cells"] = remaining - columns * (state.line - start)
    return True


def _alignment(state: StateCore) -> None:
    """Cells say how they are aligned by an attribute: the pages' policy forbids styles in the text."""
    for token in state.tokens:
        if token.type in {"th_open", "td_open"}:
            style = str(token.attrs.pop("style", ""))
            if style:
                token.attrs["align"] = style.removeprefix("text-align:")


def _fence(_self: Any, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    token = tokens[index]
    language = token.info.strip().partition(" ")[0].lower()
    name = f' class="language-{language}"' if LANGUAGE.fullmatch(language) else ""
    return f"<pre><code{name}>{escapeHtml(token.content)}</code></pre>\n"
