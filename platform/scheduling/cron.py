"""Five-field cron expressions, in UTC. Pure: the caller brings the time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from foundation.errors import InvalidInput

LONGEST: Final = 100
# 29 February comes again after eight years at the latest.
_HORIZON_DAYS: Final = 8 * 366
_ITEM: Final = re.compile(
    r"(?P<from>\*|[0-9]{1,2}|[a-z]{3})(?:-(?P<to>[0-9]{1,2}|[a-z]{3}))?(?:/(?P<step>[0-9]{1,2}))?"
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Name, first, last and names of each field; 7 is Sunday, too.
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """The values at which it runs. With both kinds of days restricted, either will do, as everywhere in cron."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    every_day: bool
    every_weekday: bool

    def next_after(self, moment: datetime) -> datetime | None:
        """The first minute after `moment` at which it runs; None: never."""
        first = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for offset in range(_HORIZON_DAYS + 1):
            day = first + timedelta(days=offset)
            if not self._runs_on(day):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    if (found := day.replace(hour=hour, minute=minute)) > moment:
                        return found
        return None

    def _runs_on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.every_day or self.every_weekday:
            return by_day and by_weekday
        return by_day or by_weekday


def read_cron(text: str, *, now: datetime) -> Cron:
    """The expression in `text`. Raises `InvalidInput` in words for one that cannot be read, or that never runs."""
    parts = text.lower().split()
    if len(text) > LONGEST or len(parts) != len(_FIELDS):
        raise InvalidInput("Five fields are expected: minute, hour, day of the month, month, day of the week.")
    values = [_values(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = values
    cron = Cron(
        minutes,
        hours,
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        every_day=parts[2].startswith("*"),
        every_weekday=parts[4].startswith("*"),
    )
    if cron.next_after(now) is None:
        raise InvalidInput("This never runs: no month has such a day.")
    return cron


def _values(part: str, title: str, first: int, last: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for item in part.split(","):
        shape = _ITEM.fullmatch(item)
        if shape is None or (shape["from"] == "*" and shape["to"]):
            raise InvalidInput(f"The {title} cannot be read: {item[:20]!r}.")
        step = int(shape["step"] or 1)
        start = first if shape["from"] == "*" else _number(shape["from"], title, first, last, names)
        if shape["to"]:
            end = _number(shape["to"], title, first, last, names)
        else:
            end = last if shape["from"] == "*" or shape["step"] else start
        if step < 1 or end < start:
            raise InvalidInput(f"The {title} counts nothing: {item[:20]!r}.")
        found.update(range(start, end + 1, step))
    return frozenset(found)


def _number(word: str, title: str, first: int, last: int, names: dict[str, int]) -> int:
    value = names.get(word, int(word) if word.isdigit() else -1)
    if not first <= value <= last:
        raise InvalidInput(f"The {title} is from {first} to {last}, not {word!r}.")
    return value
