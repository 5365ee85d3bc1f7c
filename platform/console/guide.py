"""The console's own guide, one click away: docs/console.md, chapter by chapter."""

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

_FILE: Final = Path(__file__).parents[2] / "docs" / "console.md"
_HEADING: Final = re.compile(r"^(##+) (.+)\n", re.MULTILINE)
_PICTURE: Final = re.compile(r"!\[[^\]]*\]\([^)]*\)\n*")
# Links within the documents: here their words are enough.
_LINK: Final = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


@dataclass(frozen=True, slots=True)
class Chapter:
    """`anchor` is the one that the heading has in the file; `deep` says that it is part of the chapter before."""

    title: str
    anchor: str
    deep: bool
    html: SafeString


def guide_page(request: HttpRequest, site: AdminSite, render: Callable[[str], str]) -> TemplateResponse:
    """All of it, with a list of its chapters. `render` makes safe HTML of a document in Markdown."""
    frame = site.each_context(request)
    context = {**frame, "title": "Guide", "content_title": "Guide", "chapters": chapters(render)}
    return TemplateResponse(request, "console/guide.html", context)


@cache
def chapters(render: Callable[[str], str]) -> tuple[Chapter, ...]:
    """What follows the list of contents."""
    _, *parts = _HEADING.split(_FILE.read_text(encoding="utf-8"))
    return tuple(_chapter(render, *parts[at : at + 3]) for at in range(0, len(parts), 3))


def _chapter(render: Callable[[str], str], level: str, title: str, text: str) -> Chapter:
    plain = _LINK.sub(r"\1", _PICTURE.sub("", text))
    html = mark_safe(render(plain))  # noqa: S308 - what `render` makes is safe
    return Chapter(title, re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-"), len(level) > 2, html)
