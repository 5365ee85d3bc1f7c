"""Formatting of states, times and costs in the console."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from foundation import durations
from foundation.clock import now
from foundation.durations import duration

NOTHING: Final = "\N{EN DASH}"
_AT_LEAST: Final = "\N{GREATER-THAN OR EQUAL TO} "


def badge(label: str, level: str = "") -> SafeString:
    """A label as HTML; `level` is "", "good", "warn" or "bad"."""
    return format_html('<span class="bs-tag{}">{}</span>', f" bs-tag--{level}" if level else "", label)


def format_count(number: int | None, *, at_least: bool = False) -> str:
    """A number with separators: "1,200"; a dash if it is unknown. `at_least`: unknown ones are not in the sum."""
    if number is None or (at_least and not number):
        return NOTHING
    return f"{_AT_LEAST if at_least else ''}{number:,}"


def format_money(cost: Decimal | None, *, at_least: bool = False) -> str:
    """An amount in dollars; a dash if the price is unknown. `at_least`: unknown ones are not in the sum."""
    if cost is None or (at_least and not cost):
        return NOTHING
    text = f"${cost:.2f}" if cost >= 1 else f"${cost:.4f}" if cost else "$0"
    return f"{_AT_LEAST}{text}" if at_least else text


def format_tokens(input_tokens: int | None, output_tokens: int | None, *, at_least: bool = False) -> str:
    """Input and output tokens: "1,200 in, 80 out"; a dash if both are unknown. `at_least` as in `format_count`."""
    into, out = (format_count(tokens, at_least=at_least) for tokens in (input_tokens, output_tokens))
    return NOTHING if into == out == NOTHING else f"{into} in, {out} out"


def format_percent(share: float | None) -> str:
    """A share as percent: "0 %", "1.5 %", "97 %"; a dash if it is unknown. What is not all, or not nothing, is never
    said to be."""
    if share is None:
        return NOTHING
    percent = 100 * share
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent in {0, 100} else f"{percent:.1f} %"


def nowrap(text: str) -> SafeString:
    """`text` as HTML that does not wrap."""
    return format_html('<span class="bs-nowrap">{}</span>', text)


def format_duration(begin: datetime | None, end: datetime | None) -> str:
    """The time between `begin` and `end`: "640 ms", "3.2 s", "4 min 05 s"; a dash if one is unknown."""
    if begin is None or end is None:
        return NOTHING
    return format_seconds(max(0.0, (end - begin).total_seconds()))


def format_seconds(seconds: float | None) -> str:
    """A time: "640 ms", "3.2 s", "4 min 05 s", "2 h 08 min"; a dash if it is unknown."""
    return NOTHING if seconds is None else durations.format_seconds(seconds)


def time_ago(at: datetime | None) -> SafeString | str:
    """The time since `at` as HTML: "8 s ago", kept up to date by the page, with the exact time as tooltip."""
    if at is None:
        return "never"
    elapsed = duration((now() - at).total_seconds())
    return format_html(
        '<time datetime="{}" title="{} UTC" data-ago>{} ago</time>', at.isoformat(), format_second(at), elapsed
    )


def time_elapsed(at: datetime | None) -> SafeString | str:
    """How long `at` is past as HTML: "4 min", kept up to date by the page; a dash if it is unknown."""
    if at is None:
        return NOTHING
    elapsed = duration((now() - at).total_seconds())
    return format_html(
        '<time datetime="{}" title="since {} UTC" data-elapsed>{}</time>', at.isoformat(), format_second(at), elapsed
    )


def time_until(at: datetime) -> SafeString:
    """How far off `at` is as HTML: "in 4 min", or "3 min late", kept up to date by the page."""
    remaining = (at - now()).total_seconds()
    text = f"in {duration(remaining)}" if remaining >= 0 else f"{duration(-remaining)} late"
    return format_html(
        '<time class="bs-due{}" datetime="{}" title="{} UTC" data-due>{}</time>',
        " bs-due--late" if remaining < 0 else "", at.isoformat(), format_second(at), text,
    )  # fmt: skip


def format_moment(at: datetime | None) -> SafeString | str:
    """A time in UTC, and the time since then, as HTML."""
    if at is None:
        return NOTHING
    return format_html(
        '<span class="bs-moment">{}</span> <small class="bs-ago">{}</small>', format_second(at), time_ago(at)
    )


def format_second(at: datetime) -> str:
    """A time in UTC, to the second: "2026-01-31 08:15:30"."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
