"""The next run of a schedule: cron expressions in a time zone, evaluated by cronsim. Pure: the time is passed in."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from foundation.errors import InvalidInput
from foundation.graphemes import cut_text

CRON_MAX_LENGTH: Final = 100
# Name and values of each field.
_FIELDS: Final = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, L (the last) or LW (the last from Monday to Friday)"),
    ("month", "1 to 12, or jan to dec"),
    ("day of the week", "0 to 7, or sun to sat, also as mon#1 (the first Monday) or 5L (the last Friday)"),
)
# Names in zoneinfo that depend on the machine.
_EXCLUDED_ZONES: Final = frozenset({"localtime", "Factory"})


def next_run(cron: str, time_zone: str, *, after: datetime) -> datetime:
    """The first time later than `after` at which `cron` runs in `time_zone`, in UTC.

    A local time that a clock change skips runs after the change, and one that occurs twice runs the first time only;
    if minute or hour begins with `*`, real time counts instead.

    Raises `InvalidInput` with the pointer "/cron" or "/time_zone" if it is invalid or never runs.
    """
    zone = read_time_zone(time_zone)
    _check_syntax(cron)
    try:
        for occurrence in CronSim(cron, after.astimezone(zone)):
            # Begun in the second of two equal hours, cronsim 2.8 goes through the first one again.
            if (due := occurrence.astimezone(UTC)) > after:
                return due
    except CronSimError:
        _check_fields(cron)  # if each field is valid, the combination never occurs
    raise InvalidInput("This never runs: there is no such day in the next 50 years.", pointer="/cron")


@cache
def time_zone_names() -> tuple[str, ...]:
    """The IANA names that a schedule may have, sorted."""
    return tuple(sorted(available_timezones() - _EXCLUDED_ZONES))


def read_time_zone(name: str) -> ZoneInfo:
    """The zone of that IANA name. Raises `InvalidInput` with the pointer "/time_zone"."""
    # By the list, because `ZoneInfo` accepts other spellings and files on some machines.
    if name not in time_zone_names():
        raise InvalidInput("There is no time zone of this name; “Europe/Berlin” is one.", pointer="/time_zone")
    return ZoneInfo(name)


def _check_syntax(cron: str) -> None:
    if len(cron) > CRON_MAX_LENGTH:
        raise InvalidInput(f"At most {CRON_MAX_LENGTH} characters.", pointer="/cron")
    # cronsim accepts a sixth field for seconds, but the scheduler checks only twice a minute.
    if len(cron.split()) != len(_FIELDS):
        raise InvalidInput(
            "Five fields are expected: minute, hour, day of the month, month, day of the week.", pointer="/cron"
        )


def _check_fields(cron: str) -> None:
    """Raise `InvalidInput` for the first field that is invalid by itself."""
    for number, (text, (title, values)) in enumerate(zip(cron.split(), _FIELDS, strict=True)):
        fields = ["*"] * len(_FIELDS)
        fields[number] = text
        try:
            CronSim(" ".join(fields), datetime.min)
        except CronSimError:
            field = cut_text(text, 20)
            message = f"The {title} cannot be read: {field!r}. It takes {values}; lists, ranges and steps of them."
            raise InvalidInput(message, pointer="/cron") from None
