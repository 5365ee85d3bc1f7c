"""From a question to what a search needs: the text to embed, the person whom it names, the dates, what it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from foundation.storable_text import storable_text
from memory.recall.date_phrases import DateHint, read_dates

# What a question says beyond this is not searched for.
MAX_QUERY_CHARACTERS: Final = 2_000

_ASKS_WHEN: Final = re.compile(
    r"\s*(?:when|since when|how long|(?:on |in |at )?(?:what|which) (?:date|day|month|year|time))\b", re.I
)
_ENGLISH: Final = "english"


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """`text` is searched for its words, `embedded_text` for its meaning; `actors` is the one participant named."""

    text: str
    embedded_text: str
    actors: tuple[str, ...]
    dates: DateHint
    asks_when: bool


def prepare_query(text: str, *, names: Iterable[str], now: datetime, language: str) -> PreparedQuery:
    """Read a question. `names` are the participants': they stand before every text that is embedded, so in the vector
    of the question they would drown what it asks for. `language` is a text search configuration: phrases of dates are
    understood in English only."""
    cleaned = " ".join(storable_text(text).split())[:MAX_QUERY_CHARACTERS]
    patterns = {name: _name_pattern(name) for name in names if name.strip()}
    named = tuple(name for name, pattern in patterns.items() if pattern.search(cleaned))
    embedded = cleaned
    for name in sorted(named, key=len, reverse=True):
        embedded = patterns[name].sub(" ", embedded)
    embedded = " ".join(embedded.split())
    is_english = language == _ENGLISH
    return PreparedQuery(
        text=cleaned,
        embedded_text=embedded if any(character.isalnum() for character in embedded) else cleaned,
        # Who names two people asks about both.
        actors=named if len(named) == 1 else (),
        dates=read_dates(cleaned, now) if is_english else DateHint(),
        asks_when=is_english and _ASKS_WHEN.match(cleaned) is not None,
    )


def _name_pattern(name: str) -> re.Pattern[str]:
    """Matches `name` as a whole word, with the 's of a possessive."""
    return re.compile(rf"(?<!\w){re.escape(name.strip())}(?:['\u2019]s?)?(?!\w)", re.IGNORECASE)
