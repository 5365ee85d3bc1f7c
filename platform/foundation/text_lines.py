"""The lines of a text: by the ends of lines that editors and browsers write."""

from __future__ import annotations

import re

_END = re.compile(r"\r\n|\n|\r")


def split_lines(text: str) -> list[str]:
    r"""The lines of `text`, without their ends: LF, CRLF or CR. None for "".

    Not `str.splitlines`, which also splits at characters that are part of what people and programs write: U+0085,
    U+2028, form feeds and others. Within JSON they stand as they are.
    """
    lines = _END.split(text)
    if not lines[-1]:
        lines.pop()
    return lines
