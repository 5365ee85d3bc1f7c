"""Dates in a question: of the calendar, such as "on 7 May 2023", and relative ones, such as "last week"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

# "7 May" without a year may be that of any of so many years until now.
YEARS_BACK: Final = 6

_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBERS: Final = {
    word: number
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=1
    )
} | {"a": 1, "an": 1, "a couple of": 2, "a few": 3}

_ISO: Final = re.compile(r"(?<![\d-])(\d{4})-(\d{2})(?:-(\d{2}))?(?![\d-])")
_MONTH: Final = re.compile(
    rf"(?:\b(?P<before>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? )?\b(?P<month>{'|'.join(_MONTHS)})\b"
    r"(?: (?P<after>\d{1,2})(?:st|nd|rd|th)?(?!\d))?(?:,? (?:of )?(?P<year>(?:19|20)\d{2})\b)?"
)
# "may" is a verb, unless something says that it is a month.
_MONTH_LEADS: Final = re.compile(r"\b(?:in|of|since|until|by|last|this|early|late|mid)[ -]$")
_YEAR: Final = re.compile(r"\b(?:in|of|during|since|summer|winter|spring|autumn|fall) ((?:19|20)\d{2})\b")
_AGO: Final = re.compile(rf"\b(\d{{1,3}}|{'|'.join(_NUMBERS)}) (day|week|month|year)s? ago\b")
_LAST: Final = re.compile(rf"\b(last|this|past) (week|weekend|month|year|{'|'.join(_WEEKDAYS)})\b")
_DAY: Final = re.compile(r"\b(today|tonight|this morning|yesterday|last night|the day before yesterday)\b")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `start` to before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class DateHint:
    """What a question says of when: `spans` are the days or months that it names, `wide` what lies around them."""

    spans: tuple[TimeRange, ...] = ()
    wide: tuple[TimeRange, ...] = ()


def read_dates(text: str, now: datetime) -> DateHint:
    """The dates that an English question names, seen from `now`; ISO dates in any language."""
    lowered = " ".join(text.lower().split())
    spans: list[TimeRange] = []
    wide: list[TimeRange] = []
    for exact, around in (*_iso(lowered), *_calendar(lowered, now), *_relative(lowered, now)):
        spans += exact
        wide += around
    if not spans:
        wide += [_year(int(match[1])) for match in _YEAR.finditer(lowered)]
    return DateHint(tuple(dict.fromkeys(spans)), tuple(dict.fromkeys(wide)))


_Found = Iterator[tuple[list[TimeRange], list[TimeRange]]]


def _iso(text: str) -> _Found:
    for match in _ISO.finditer(text):
        year, month, day = (int(part) if part else None for part in match.groups())
        if year and month and (span := _month(year, month)):
            exact = _day(year, month, day) if day else span
            if exact:
                yield [exact], [span] if day else []


def _calendar(text: str, now: datetime) -> _Found:
    for match in _MONTH.finditer(text):
        day = match["before"] or match["after"]
        if match["month"] == "may" and not (day or match["year"] or _MONTH_LEADS.search(text[: match.start("month")])):
            continue
        month = _MONTHS.index(match["month"]) + 1
        years = [int(match["year"])] if match["year"] else [now.year - back for back in range(YEARS_BACK)]
        months = [span for year in years if (span := _month(year, month))]
        if day is None:
            yield months, []
        else:
            yield [span for year in years if (span := _day(year, month, int(day)))], months


def _relative(text: str, now: datetime) -> _Found:
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    one = timedelta(days=1)
    for match in _DAY.finditer(text):
        back = {"yesterday": 1, "last night": 1, "the day before yesterday": 2}.get(match[1], 0)
        yield [_days(today - back * one, 1)], [_days(today - (back + 2) * one, 5)]
    for match in _AGO.finditer(text):
        count = _NUMBERS.get(match[1]) or int(match[1])
        length = {"day": 1, "week": 7, "month": 30, "year": 365}[match[2]]
        if count * length <= 100 * 365:
            # "Three weeks ago" is seldom to the day.
            around = today - count * length * one
            yield [_days(around - (length // 2) * one, length)], [_days(around - length * one, 2 * length + 1)]
    for match in _LAST.finditer(text):
        yield [_last(match[1], match[2], today)], []


def _last(which: str, unit: str, today: datetime) -> TimeRange:
    one = timedelta(days=1)
    back = 0 if which == "this" else 1
    monday = today - today.weekday() * one
    if unit in _WEEKDAYS:
        days = (today.weekday() - _WEEKDAYS.index(unit)) % 7 or 7
        return _days(today - days * one, 1)
    if unit == "week":
        return _days(monday - 7 * back * one, 7)
    if unit == "weekend":
        return _days(monday - 7 * back * one + 5 * one, 2)
    if unit == "year":
        return _year(today.year - back)
    first = today.replace(day=1)
    start = (first - one).replace(day=1) if back else first
    return TimeRange(start, _next_month(start))


def _days(start: datetime, count: int) -> TimeRange:
    return TimeRange(start, start + timedelta(days=count))


def _day(year: int, month: int, day: int) -> TimeRange | None:
    try:
        return _days(datetime(year, month, day, tzinfo=UTC), 1)
    except (ValueError, OverflowError):
        return None


def _month(year: int, month: int) -> TimeRange | None:
    try:
        start = datetime(year, month, 1, tzinfo=UTC)
        return TimeRange(start, _next_month(start))
    except (ValueError, OverflowError):
        return None


def _next_month(start: datetime) -> datetime:
    return (start + timedelta(days=31)).replace(day=1)


def _year(year: int) -> TimeRange:
    return TimeRange(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
