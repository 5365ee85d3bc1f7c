"""When a schedule runs next: cron expressions on the clocks of a time zone, read by cronsim. Pure: the caller brings
the time."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from foundation.errors import InvalidInput

CRON_MAX_LENGTH: Final = 100
# Name and values of each field.
_FIELDS: Final = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, L (the last) or LW (the last from Monday to Friday)"),
    ("month", "1 to 12, or jan to dec"),
    ("day of the week", "0 to 7, or sun to sat, also as mon#1 (the first Monday) or 5L (the last Friday)"),
)
# zoneinfo lists them where the machine has them; they mean another zone on each machine, or none.
_NOT_PLACES: Final = frozenset({"localtime", "Factory"})


def next_run(cron: str, time_zone: str, *, after: datetime) -> datetime:
    """The first time later than `after` at which `cron` runs by the clocks of `time_zone`; in UTC.

    A time that clocks skip comes when they have moved forward, and one that comes twice is due the first time only;
    with a `*` at the start of minute or hour, it goes by the time that passes.

    Raises `InvalidInput` with the pointer "/cron" or "/time_zone" for what cannot be read or never runs.
    """
    zone = read_time_zone(time_zone)
    _check_shape(cron)
    try:
        for moment in CronSim(cron, after.astimezone(zone)):
            # Begun in the second of two equal hours, cronsim 2.8 goes through the first one again.
            if (due := moment.astimezone(UTC)) > after:
                return due
    except CronSimError:
        _check_fields(cron)  # with each of them readable, they never come together
    raise InvalidInput("This never runs: there is no such day in the next 50 years.", pointer="/cron")


@cache
def time_zone_names() -> tuple[str, ...]:
    """The IANA names that a schedule may have, sorted."""
    return tuple(sorted(available_timezones() - _NOT_PLACES))


def read_time_zone(name: str) -> ZoneInfo:
    """The zone of that IANA name. Raises `InvalidInput` with the pointer "/time_zone"."""
    # By the list: `ZoneInfo` would take other spellings, and other files, on some machines.
    if name not in time_zone_names():
        raise InvalidInput("There is no time zone of this name; “Europe/Berlin” is one.", pointer="/time_zone")
    return ZoneInfo(name)


def _check_shape(cron: str) -> None:
    if len(cron) > CRON_MAX_LENGTH:
        raise InvalidInput(f"At most {CRON_MAX_LENGTH} characters.", pointer="/cron")
    # cronsim would take a sixth one for seconds; the scheduler wakes up twice a minute.
    if len(cron.split()) != len(_FIELDS):
        raise InvalidInput(
            "Five fields are expected: minute, hour, day of the month, month, day of the week.", pointer="/cron"
        )


def _check_fields(cron: str) -> None:
    """Raise `InvalidInput` for the first field that cannot be read for itself."""
    for number, (text, (title, values)) in enumerate(zip(cron.split(), _FIELDS, strict=True)):
        fields = ["*"] * len(_FIELDS)
        fields[number] = text
        try:
            CronSim(" ".join(fields), datetime.min)
        except CronSimError:
            message = f"The {title} cannot be read: {text[:20]!r}. It takes {values}; lists, ranges and steps of them."
            raise InvalidInput(message, pointer="/cron") from None
