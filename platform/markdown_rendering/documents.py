"""Prepares the files of docs/ for rendering as pages."""

from __future__ import annotations

import re

# Line breaks within a paragraph; those before a block (list, heading, table) stay.
_LINE_BREAK = re.compile(r"(?<![\n|])\n *(?=[^\s|#-])")


def join_lines(text: str) -> str:
    """`text` without the line breaks within paragraphs, which the dialect would keep."""
    return _LINE_BREAK.sub(" ", text)
