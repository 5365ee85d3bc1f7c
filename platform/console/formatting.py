"""How states, times and money are told in the console's lists and pages."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from foundation.clock import now
from foundation.durations import duration

NOTHING: Final = "\N{EN DASH}"


def badge(label: str, level: str = "") -> SafeString:
    """A label; `level` is "", "good", "warn" or "bad"."""
    return format_html('<span class="bs-tag{}">{}</span>', f" bs-tag--{level}" if level else "", label)


def format_money(cost: Decimal | None) -> str:
    """Dollars as people compare them; a dash where no price is known."""
    if cost is None:
        return NOTHING
    return f"${cost:.2f}" if cost >= 1 else f"${cost:.4f}" if cost else "$0"


def format_tokens(input_tokens: int, output_tokens: int) -> str:
    """What went into the model and what came out of it."""
    return f"{input_tokens:,} in, {output_tokens:,} out"


def nowrap(text: str) -> SafeString:
    """On one line, however narrow its column is."""
    return format_html('<span class="bs-nowrap">{}</span>', text)


def format_duration(begin: datetime | None, end: datetime | None) -> str:
    """A time span: "640 ms", "3.2 s", "4 min 05 s"."""
    if begin is None or end is None:
        return NOTHING
    seconds = max(0.0, (end - begin).total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def time_ago(at: datetime | None) -> SafeString | str:
    """How long `at` is gone: "8 s ago". The page keeps it up to date; the moment itself is there on pointing."""
    if at is None:
        return "never"
    elapsed = duration((now() - at).total_seconds())
    return format_html(
        '<time datetime="{}" title="{} UTC" data-ago>{} ago</time>', at.isoformat(), format_second(at), elapsed
    )


def format_moment(at: datetime | None) -> SafeString | str:
    """A moment in UTC, and how long it is gone."""
    if at is None:
        return NOTHING
    return format_html(
        '<span class="bs-moment">{}</span> <small class="bs-ago">{}</small>', format_second(at), time_ago(at)
    )


def format_second(at: datetime) -> str:
    """A moment in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
