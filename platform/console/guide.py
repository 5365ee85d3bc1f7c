"""Documents as pages of the console, split into chapters: the guide (docs/console.md) and the runbooks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString, mark_safe

_DOCS: Final = Path(__file__).parents[2] / "docs"
_GUIDE: Final = _DOCS / "console.md"
_RUNBOOKS: Final = _DOCS / "runbooks.md"
_HEADING: Final = re.compile(r"^(##+) (.+)\n", re.MULTILINE)
_PICTURE: Final = re.compile(r"!\[[^\]]*\]\([^)]*\)\n*")
# Relative links between the documents, which are replaced by their text; those within one, which the
# dialect of chats does not know, stay.
_LINK: Final = re.compile(r"\[([^\]]+)\]\((?!https?:|#)[^)]*\)")

_INNER_LINK: Final = re.compile(r"\[([^\]]+)\]\(#([\w-]+)\)")


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of the guide. `anchor` is that of its heading; `is_section`: it belongs to the chapter before it."""

    title: str
    anchor: str
    is_section: bool
    html: SafeString


def guide_page(request: HttpRequest, site: AdminSite, render: Callable[[str], str]) -> TemplateResponse:
    """The page with the whole guide and its table of contents. `render` converts Markdown to safe HTML."""
    return _document_page(request, site, "Guide", chapters(render))


def runbooks_page(request: HttpRequest, site: AdminSite, render: Callable[[str], str]) -> TemplateResponse:
    """The page of the runbooks: the anchor of each alert is the name of its rule."""
    return _document_page(request, site, "Runbooks", chapters(render, _RUNBOOKS))


def runbook_anchors() -> frozenset[str]:
    """The names of the rules and conditions that have a runbook, for links to `/admin/runbooks/#…`."""
    return frozenset(_anchor(match[2]) for match in _HEADING.finditer(_RUNBOOKS.read_text(encoding="utf-8")))


def _document_page(
    request: HttpRequest, site: AdminSite, title: str, chapters: tuple[Chapter, ...]
) -> TemplateResponse:
    frame = site.each_context(request)
    context = {**frame, "title": title, "content_title": title, "chapters": chapters}
    return TemplateResponse(request, "console/guide.html", context)


@cache
def chapters(render: Callable[[str], str], file: Path = _GUIDE) -> tuple[Chapter, ...]:
    """The chapters of the file, rendered once per process."""
    _, *parts = _HEADING.split(file.read_text(encoding="utf-8"))
    return tuple(_chapter(render, *parts[at : at + 3]) for at in range(0, len(parts), 3))


def _chapter(render: Callable[[str], str], level: str, title: str, text: str) -> Chapter:
    plain = _LINK.sub(r"\1", _PICTURE.sub("", text))
    rendered = _INNER_LINK.sub(r'<a class="bs-link" href="#\2">\1</a>', render(plain))
    html = mark_safe(rendered)  # noqa: S308 - what `render` makes is safe
    return Chapter(title, _anchor(title), len(level) > 2, html)


def _anchor(title: str) -> str:
    """The anchor that GitHub, too, gives the heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
