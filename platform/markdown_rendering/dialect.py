"""The Markdown dialect: CommonMark without raw HTML, plus tables, strikethrough, automatic links, and formulas that are
shown as they were written (see `math`).

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

from markdown_rendering.math import math_plugin

SCHEMES = frozenset({"http", "https", "mailto"})
_DIRECTED = frozenset(
    {"blockquote_open", "bullet_list_open", "heading_open", "ordered_list_open", "paragraph_open", "table_open"}
)
# Links whose text is their address, as the library marks them.
_BARE_LINKS = frozenset({"autolink", "linkify"})
LANGUAGE = re.compile(r"[a-z0-9_+#.-]{1,32}")

# Lists take two levels each. Deeper content is dropped, so the limit is beyond any normal text.
_MAX_NESTING = 40
# markdown-it-py 4.3.0 fills up short rows, 65,536 cells at most (markdown-it/markdown-it#1000): a header of 200 cells
# over rows of one character made 27 MB of 64 KB, in 50 s.
_MAX_COLUMNS, _MAX_CELLS = 100, 10_000
# Each bracket that opens is tried, and what stands within it too: 64 KB of them took 1.2 s (markdown-it-py 4.3.0).
_MAX_LINK_TRIES = 5_000
# Characters that end a URL: quotation marks, and punctuation of scripts without spaces after it.
_END_OF_ADDRESS = re.compile("[“”„‟«»‹›。，、；：！？」』）】》]")  # noqa: RUF001
_TRAILING_PUNCTUATION = "‘’.,;:!?"  # noqa: RUF001
# Without nested brackets, which make the library's own rule slower with every level.
_IMAGE = re.compile(r'!\[([^\[\]\n]{0,1000})\]\([ \t]*<?([^\s<>()"]{1,2000})>?(?:[ \t]+"[^"\n]{0,500}")?[ \t]*\)')


@cache
def parser() -> MarkdownIt:
    """The shared parser. It keeps no state between texts, so it is thread-safe."""
    md = MarkdownIt("commonmark", {"html": False, "linkify": True, "breaks": True, "maxNesting": _MAX_NESTING})
    md.enable(["table", "strikethrough", "linkify"])
    md.linkify = _addresses()
    md.validateLink = _allowed  # type: ignore[method-assign]
    md.inline.ruler.at("image", _image)
    md.inline.ruler.at("link", _link)
    md.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    md.core.ruler.push("alignment", _alignment)
    md.core.ruler.push("direction", _direction)
    md.add_render_rule("fence", _fence)
    math_plugin(md)
    return md


class _Addresses(LinkifyIt):  # type: ignore[misc]  # it is not typed
    """Finds bare URLs, without the punctuation that ends a quotation or a sentence around them."""

    def test_schema_at(self, text: str, name: str, position: int) -> int:
        """The number of characters from `position` on that belong to the URL whose scheme precedes it."""
        length: int = super().test_schema_at(text, name, position)
        address = _END_OF_ADDRESS.split(text[position : position + length], maxsplit=1)[0]
        return len(address.rstrip(_TRAILING_PUNCTUATION))


def _addresses() -> LinkifyIt:
    linkifier = _Addresses(options={"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})
    for scheme in ("ftp:", "//"):
        linkifier.add(scheme, None)
    return linkifier


def _allowed(url: str) -> bool:
    scheme, colon, _ = url.strip().lower().partition(":")
    return bool(colon) and scheme in SCHEMES


def _image(state: StateInline, silent: bool) -> bool:
    """Render `![text](url)` as a link, or as its text inside another link and for other schemes."""
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
    """The library's link rule, limited to `_MAX_LINK_TRIES` per text; further brackets are plain text."""
    remaining: int = state.env.get("links", _MAX_LINK_TRIES)
    if not remaining:
        return False
    state.env["links"] = remaining - 1
    return link(state, silent)


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """The library's table rule, limited to `_MAX_CELLS` per text; further rows are paragraphs."""
    remaining: int = state.env.get("cells", _MAX_CELLS)
    columns = state.src.count("|", state.bMarks[start], state.eMarks[start]) + 1
    rows = remaining // columns
    if columns > _MAX_COLUMNS or rows < 2 or not table(state, start, min(end, start + 1 + rows), silent):
        return False
    if not silent:
        state.env["cells"] = remaining - columns * (state.line - start)
    return True


def _alignment(state: StateCore) -> None:
    """Replace the inline style of table cells by the `align` attribute: the pages' CSP forbids inline styles."""
    for token in state.tokens:
        if token.type in {"th_open", "td_open"}:
            style = str(token.attrs.pop("style", ""))
            if style:
                token.attrs["align"] = style.removeprefix("text-align:")


def _direction(state: StateCore) -> None:
    """Let each outermost block run in the direction of its first letter; within one, the stylesheet lets each text.

    HTML looks for that letter in no element that has a direction of its own. So the parts of a block have none, and
    what is never read from right to left has one: an Arabic sentence may begin with `ls`.
    """
    for token in state.tokens:
        if token.level == 0 and token.type in _DIRECTED:
            token.attrs["dir"] = "auto"
        elif token.type == "code_block":
            token.attrs["dir"] = "ltr"
        for child in token.children or ():
            if child.type == "code_inline" or (child.type == "link_open" and child.markup in _BARE_LINKS):
                child.attrs["dir"] = "ltr"


def _fence(_self: Any, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    token = tokens[index]
    language = token.info.strip().partition(" ")[0].lower()
    name = f' class="language-{language}"' if LANGUAGE.fullmatch(language) else ""
    return f'<pre dir="ltr"><code{name}>{escapeHtml(token.content)}</code></pre>\n'
