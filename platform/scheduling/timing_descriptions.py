"""When a schedule runs, in words: "every day 03:20, Zurich", "every 15 minutes"."""

from __future__ import annotations

from datetime import datetime
from itertools import product
from typing import Final

from cronsim import CronSim, CronSimError

_HOUR: Final = 60
_DAY: Final = 24 * _HOUR
_WEEK: Final = 7 * _DAY
_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ORDINALS: Final = {"21th": "21st", "22th": "22nd", "23th": "23rd", "31th": "31st"}
# Up to so many times of the day are listed.
_MOST_TIMES: Final = 4


def describe_timing(every_minutes: int | None, cron: str, time_zone: str) -> str:
    """When a schedule runs: "every 15 minutes", "every weekday 08:00, Zurich".

    `every_minutes` counts if it is set, else `cron` on the clocks of `time_zone`, an IANA name. Never raises: an
    expression that cannot be read is returned as it is, with its time zone.
    """
    if every_minutes is not None:
        return describe_interval(every_minutes)
    try:
        times = CronSim(cron, datetime.min)
    except CronSimError:
        description = cron
    else:
        description = _describe_days_and_times(times) or _describe_at_length(times)
    return f"{description}, {time_zone_city(time_zone)}"


def describe_interval(minutes: int) -> str:
    """An interval in its largest whole unit: "every minute", "every 2 hours", "every day"."""
    for size, unit in ((_WEEK, "week"), (_DAY, "day"), (_HOUR, "hour")):
        if minutes and minutes % size == 0:
            return _every(minutes // size, unit)
    return _every(minutes, "minute")


def time_zone_city(time_zone: str) -> str:
    """The part of an IANA name that people say: "Zurich" for "Europe/Zurich"."""
    return time_zone.rpartition("/")[2].replace("_", " ")


def _every(count: int, unit: str) -> str:
    return f"every {unit}" if count == 1 else f"every {count:,} {unit}s"


def _describe_days_and_times(times: CronSim) -> str | None:
    """The usual case, times of some days of the week; None for others, which cronsim describes at greater length."""
    is_plain = times.day_and and times.days == set(range(1, 32)) and times.months == set(range(1, 13))
    if not is_plain or len(times.minutes) * len(times.hours) > _MOST_TIMES:
        return None
    days = _describe_weekdays(times)
    if days is None:
        return None
    clock = [f"{hour:02}:{minute:02}" for hour, minute in product(sorted(times.hours), sorted(times.minutes))]
    return f"{days} {_join(clock)}"


def _describe_weekdays(times: CronSim) -> str | None:
    """ "every day", "every Monday and Friday"; None if it is a certain week's, such as the first Monday."""
    days = {day % len(_WEEKDAYS) for day in times.weekdays if isinstance(day, int)}  # Sunday is 0 and 7
    if len(days) == len(_WEEKDAYS):
        return "every day"
    if len(days) < len({day if isinstance(day, tuple) else day % len(_WEEKDAYS) for day in times.weekdays}):
        return None
    if days == {1, 2, 3, 4, 5}:
        return "every weekday"
    from_monday = sorted(days, key=lambda day: (day - 1) % len(_WEEKDAYS))
    return f"every {_join([_WEEKDAYS[day] for day in from_monday])}"


def _join(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _describe_at_length(times: CronSim) -> str:
    """cronsim's description, as part of a sentence, with two faults of 2.8 mended: its ordinals, and "and" for "or"."""
    sentence = times.explain()
    for wrong, right in _ORDINALS.items():
        sentence = sentence.replace(wrong, right)
    sentence = sentence.replace("day of month", "day of the month")
    if not times.day_and:
        sentence = sentence.replace(" and on ", " or on ")
    return sentence[:1].lower() + sentence[1:]
