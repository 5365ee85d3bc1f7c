"""Renders Markdown to HTML: a parser without raw HTML, then a sanitizer with an allowlist of tags.

Measured on one core: about 3 ms per KB of ordinary text, at most 9 ms per KB of the worst input, and linear in the
length. Therefore long texts are not rendered.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape

import nh3

from foundation.storable_text import storable_text
from markdown_rendering.dialect import LANGUAGE, SCHEMES, parser

# Longer texts are shown as they are.
MAX_CHARS = 64 * 1024
# The cache: reloading a conversation renders its messages again.
_CACHED_CHARS, _CACHED_TEXTS = 16_000, 256

TAGS = frozenset(
    {"a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s"}
    | {"strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
)
ATTRIBUTES = {
    **{tag: {"dir"} for tag in ("blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "p", "table", "ul")},
    "a": {"dir", "href"},
    "code": {"class", "dir"},
    "ol": {"dir", "start"},
    "pre": {"class", "dir"},
    "td": {"align"},
    "th": {"align"},
}
REL = "noopener noreferrer nofollow"
_ADDED = frozenset({"rel", "target"})

_CLASS = re.compile(rf"language-{LANGUAGE.pattern}")
_DIRECTIONS = frozenset({"auto", "ltr"})
_ALIGN = frozenset({"left", "center", "right"})
_NUMBER = re.compile(r"[0-9]{1,9}")


def render(text: str) -> str:
    """`text` as HTML of `TAGS` with `ATTRIBUTES`; links open in a new tab, and images are links. Never raises.

    More than `MAX_CHARS` characters are returned as one `<pre>`. All text is kept, except link definitions.
    """
    return _cached(text) if len(text) <= _CACHED_CHARS else _render(text)


def _render(text: str) -> str:
    text = storable_text(text)
    if len(text) > MAX_CHARS:
        return _plain(text)
    try:
        html = parser().render(text)
    except Exception:
        # An error of the library must not hide a message.
        return _plain(text)
    return _cleaned(html)


_cached = lru_cache(maxsize=_CACHED_TEXTS)(_render)


def _plain(text: str) -> str:
    return f'<pre dir="auto">{escape(text)}</pre>'


def _cleaned(html: str) -> str:
    return nh3.clean(
        html,
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        attribute_filter=_attribute,
        url_schemes=set(SCHEMES),
        url_relative="deny",
        link_rel=REL,
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _attribute(tag: str, name: str, value: str) -> str | None:
    """The allowed value of an attribute, or None. nh3 by itself allows `title` and `lang` on all tags."""
    if name not in ATTRIBUTES.get(tag, ()) and name not in _ADDED:
        return None
    if name == "dir":
        return value if value in _DIRECTIONS else None
    if name == "class":
        return value if value == "math" or (tag == "code" and _CLASS.fullmatch(value)) else None
    if name == "align":
        return value if value in _ALIGN else None
    if name == "start":
        return value if _NUMBER.fullmatch(value) else None
    return value
