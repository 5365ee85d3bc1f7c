"""Escape what a terminal or a reader of logs would obey instead of show."""

from __future__ import annotations

import re
from typing import Any

# C0 with ESC, DEL and C1; what turns the direction of text; the separators of lines and paragraphs that only some
# programs take for ends of lines; halves of pairs, which cannot be written as UTF-8.
_IN_LINES = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROLS = re.compile(f"[\t\n{_IN_LINES}]")
_CONTROLS_IN_LINES = re.compile(f"[{_IN_LINES}]")


def escape_controls(text: str, *, keep_lines: bool = False) -> str:
    r"""`text` with `\x1b` or `\u202e` in place of each control character. `keep_lines`: tabs and LF stay."""
    return (_CONTROLS_IN_LINES if keep_lines else _CONTROLS).sub(_escape, text)


def escape_controls_in_tree(value: Any, *, keep_lines: bool = False) -> Any:
    """A copy of nested dicts and lists whose texts are escaped, keys included."""
    if isinstance(value, str):
        return escape_controls(value, keep_lines=keep_lines)
    if isinstance(value, dict):
        return {
            escape_controls_in_tree(key, keep_lines=keep_lines): escape_controls_in_tree(item, keep_lines=keep_lines)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [escape_controls_in_tree(item, keep_lines=keep_lines) for item in value]
    return value


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return {9: r"\t", 10: r"\n", 13: r"\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
