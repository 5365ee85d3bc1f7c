"""The difference of two texts, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

_PIECE: Final = re.compile(r"\s+|\w+|[^\w\s]", re.UNICODE)
# `SequenceMatcher` takes quadratic time; of longer texts the rest is shown as it is.
MAX_PIECES: Final = 2_000


@dataclass(frozen=True, slots=True)
class DiffPiece:
    """A part of the second text; or of the first only (`is_removed`), or of the second only (`is_added`)."""

    text: str
    is_removed: bool = False
    is_added: bool = False


def diff_words(old: str, new: str) -> list[DiffPiece]:
    """How `old` becomes `new`. Without the removed pieces they are `new`, without the added ones `old`."""
    return list(_diff(_PIECE.findall(old), _PIECE.findall(new)))


def _diff(old: list[str], new: list[str]) -> Iterator[DiffPiece]:
    rest_old, rest_new = "".join(old[MAX_PIECES:]), "".join(new[MAX_PIECES:])
    old, new = old[:MAX_PIECES], new[:MAX_PIECES]
    for tag, old_start, old_end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield DiffPiece("".join(new[new_start:new_end]))
            continue
        if old_end > old_start:
            yield DiffPiece("".join(old[old_start:old_end]), is_removed=True)
        if new_end > new_start:
            yield DiffPiece("".join(new[new_start:new_end]), is_added=True)
    if rest_old == rest_new:
        if rest_new:
            yield DiffPiece(rest_new)
        return
    if rest_old:
        yield DiffPiece(rest_old, is_removed=True)
    if rest_new:
        yield DiffPiece(rest_new, is_added=True)
