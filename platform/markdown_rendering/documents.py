"""Our own documents as pages: the same words that stand in docs/."""

from __future__ import annotations

import re

# The files' lines are short, and the pages' are as long as the window: all breaks but those before a block go.
_LINE_BREAK = re.compile(r"(?<![\n|])\n *(?=[^\s|#-])")


def unbroken(text: str) -> str:
    """The text of a file without the line breaks that mean nothing."""
    return _LINE_BREAK.sub(" ", text)
