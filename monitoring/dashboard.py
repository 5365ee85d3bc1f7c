"""The live part of the start page: what needs somebody, the figures of now, and those of a range of time with charts.

Everything is limited to what the user may see. It is read again each 10 seconds by every open page, so the number of
statements is bounded and held by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.urls import reverse

from accounts.models import User
from agents.models import UNANSWERED_FAILURE, Turn
from agents.permissions.role_permissions import VIEW_RATINGS
from agents.sessions.rating_counts import RatingCounts, count_ratings
from console.charts import Chart, ChartShape, Series, Threshold, highest_in_buckets, integer_top, make_chart
from console.formatting import NOTHING, format_count, format_money, format_percent, format_seconds, format_tokens
from foundation.clock import now
from foundation.db_threads import DATABASE_FAULTS
from foundation.db_timeouts import statement_timeout
from foundation.ids import lowest_id
from health_checks.check import Level, Link, Reader
from health_checks.registry import registry
from health_checks.run import FAULT_LABELS, CheckResult, run_checks
from monitoring.gauges import BAD_MEMORY_PERCENT, GAUGES, WARN_MEMORY_PERCENT, GaugePoints, read_gauges
from monitoring.list_links import TurnLinks, ratings_link
from monitoring.periods import Period, PeriodFigures, end_of_minute, make_axis, read_period
from monitoring.time_ranges import RANGES, DashboardRange

log = structlog.get_logger(__name__)

# The time limit of the checks of the page, and of each statement of its figures.
CHECK_SECONDS: Final = 9.0
FIGURES_SECONDS: Final = 3.0
# Of the newest failed turns.
ROWS: Final = 6
VIEW_TURN: Final = "agents.view_turn"
VIEW_RUNNER: Final = "agents.view_runner"
# Above this share of failed turns failures are a general problem.
FAILED_SHARE: Final = 0.05
_FAULT_REMEDY: Final = "Load this page again; var/logs/web-*.log says why it could not be measured."
NO_SAMPLES: Final = "No samples yet: the processes write one each 30 seconds, and keep them for 14 days."
# Levels in words, for those who do not tell the colours apart.
LEVEL_WORDS: Final = {"warn": "look at it", "bad": "act now"}


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem: its description, a link, and what to do. `level` is "warn" or "bad"."""

    message: str
    address: str
    remedy: str
    level: str

    @property
    def level_words(self) -> str:
        return LEVEL_WORDS.get(self.level, "")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number on the overview page. `level` is "", "warn" or "bad"; without an `address` it leads nowhere. `percent`
    of a gauge is how full it is."""

    name: str
    value: str
    message: str
    address: str
    level: str = ""
    percent: float | None = None

    @property
    def level_words(self) -> str:
        return LEVEL_WORDS.get(self.level, "")

    @property
    def percent_text(self) -> str:
        """The length of a gauge's bar in hundredths."""
        return f"{min(100.0, self.percent or 0.0):.1f}"


def dashboard(user: User | AnonymousUser, time_range: DashboardRange) -> dict[str, Any]:
    """The template context of the live part. `figures` and `charts` are empty for users who may not see turns;
    `figures_fault` says that they could not be read."""
    at = now()
    results = run_checks(
        registry.for_reader(Reader.OVERVIEW, has_permission=permission_test(user)), now=at, seconds=CHECK_SECONDS
    )
    return {
        "as_of": at,
        "time_range": time_range,
        "time_ranges": RANGES.values(),
        "metrics": [_metric(result) for result in results if result.check.is_metric],
        "alerts": list(_alerts(results)),
        "failed_turns": _failed_turns(at) if permission_test(user)(VIEW_TURN) else None,
        "failed_turns_address": f"{reverse('admin:agents_turn_changelist')}?state=unanswered",
        **_figures(user, time_range, at),
    }


def _failed_turns(at: datetime) -> QuerySet[Turn]:
    """The newest failures of the past day that nobody has answered."""
    failed = Turn.objects.filter(UNANSWERED_FAILURE, pk__gte=lowest_id(at - timedelta(days=1)))
    return failed.select_related("user", "agent_session__agent").order_by("-id")[:ROWS]


def permission_test(user: User | AnonymousUser) -> Callable[[str], bool]:
    """Whether `user` is active and has a permission."""
    return lambda permission: bool(user.is_active and user.has_perm(permission))


def _metric(result: CheckResult) -> Metric:
    check = result.check
    if result.fault:
        return Metric(check.title, NOTHING, FAULT_LABELS[result.fault], _address(check.link), "warn")
    [finding] = result.findings
    level = "" if finding.level is Level.GOOD else str(finding.level)
    return Metric(check.title, finding.value, finding.message, _address(finding.link), level, finding.percent)


def _alerts(results: Sequence[CheckResult]) -> Iterator[Problem]:
    """Findings that are not good, and checks that failed to run; without those that another check details."""
    measured = {result.check.name for result in results if not result.fault}
    for result in results:
        check = result.check
        if result.fault:
            yield Problem(f"{check.title}: {FAULT_LABELS[result.fault]}", _address(check.link), _FAULT_REMEDY, "warn")
        elif check.detailed_by not in measured:
            for finding in result.findings:
                if finding.level is not Level.GOOD:
                    message = (
                        f"{check.title}: {finding.value}, {finding.message}" if check.is_metric else finding.message
                    )
                    yield Problem(message, _address(finding.link), finding.remedy, str(finding.level))


def _address(link: Link | None) -> str:
    return link.url() if link else ""


def _figures(user: User | AnonymousUser, time_range: DashboardRange, at: datetime) -> dict[str, Any]:
    holds = permission_test(user)
    try:
        with statement_timeout(FIGURES_SECONDS):
            period = read_period(time_range, at) if holds(VIEW_TURN) else None
            ratings = _count_ratings(time_range, at) if holds(VIEW_RATINGS) else None
            gauges = read_gauges(make_axis(time_range, at)) if holds(VIEW_RUNNER) else None
    except DATABASE_FAULTS as error:
        log.warning("dashboard.failed", reason=str(error))
        return {"figures": [], "charts": [], "figures_fault": True}
    return {
        "figures": [*_period_metrics(period), *_rating_metrics(ratings, time_range, at)],
        "charts": [*_turn_charts(period), *_gauge_charts(gauges, time_range, at)],
        "figures_fault": False,
    }


# --- figures of the range ---


def _period_metrics(figures: PeriodFigures | None) -> Iterator[Metric]:
    if figures is None:
        return
    total = figures.total
    links = TurnLinks(figures.since, figures.until)
    yield Metric("Turns", f"{total.turns:,}", f"{format_rate(total.per_minute)} a minute", links.all())
    yield Metric("Completed", format_percent(total.completed_share), f"{total.completed:,} turns", links.completed())
    yield Metric(
        "Failed", format_percent(total.failed_share), _failed_words(total), links.failed(), _failed_level(total)
    )
    for share, name, part in ((0.5, "p50", "half"), (0.95, "p95", "95 %"), (0.99, "p99", "99 %")):
        message = f"{part} ended within this" if total.turns else "no turn ended"
        yield Metric(f"Response time, {name}", format_seconds(total.seconds.quantile(share)), message, links.all())
    first = total.first_token
    yield Metric(
        "First word, p50",
        format_seconds(first.quantile(0.5)),
        f"95 % within {format_seconds(first.quantile(0.95))}" if first.count else "no model spoke",
        links.all(),
    )
    yield Metric(
        "Cost",
        format_money(total.cost_usd, at_least=bool(total.cost_unknown)) if total.turns else "$0",
        format_tokens(total.input_tokens, total.output_tokens, at_least=bool(total.cost_unknown)),
        links.all(),
    )


def _failed_words(total: Period) -> str:
    text = f"{total.failed:,} turn{'' if total.failed == 1 else 's'}"
    return f"{text}; {total.answered_later:,} more answered by a retry" if total.answered_later else text


def _failed_level(total: Period) -> str:
    return "bad" if (total.failed_share or 0) > FAILED_SHARE else "warn" if total.failed else ""


def _count_ratings(time_range: DashboardRange, at: datetime) -> RatingCounts:
    counts = count_ratings(since=time_range.since(at), until=end_of_minute(at))
    return sum(counts.values(), RatingCounts())


def _rating_metrics(ratings: RatingCounts | None, time_range: DashboardRange, at: datetime) -> Iterator[Metric]:
    if ratings is not None:
        address = ratings_link(time_range.since(at), end_of_minute(at))
        yield Metric("Ratings", f"{ratings.total:,}", f"{ratings.up:,} up, {ratings.down:,} down", address)


def format_rate(rate: float) -> str:
    """A rate with two digits that count: "0.12", "3.4", "120"."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}" if rate else "0"


# --- charts ---


def _turn_charts(figures: PeriodFigures | None) -> Iterator[Chart]:
    if figures is None:
        return
    axis, buckets = figures.axis, figures.buckets
    links = [TurnLinks(at, min(at + axis.bucket, figures.until)) for at in axis.starts]
    addresses = [link.all() for link in links]
    turns = [bucket.turns for bucket in buckets]
    yield make_chart(
        "turns",
        "Turns",
        axis,
        [
            Series("completed", "good", [bucket.completed for bucket in buckets], [link.completed() for link in links]),
            Series("stopped", "soft", [bucket.others for bucket in buckets], [link.others() for link in links]),
            Series("failed", "bad", [bucket.failed for bucket in buckets], [link.failed() for link in links]),
        ],
        shape=ChartShape.BARS,
        format_value=_format_whole_number,
        top=integer_top(max(turns, default=0)),
        summary=f"{sum(turns):,} ended, {figures.total.failed:,} failed; busiest {_width_name(axis.bucket)}: "
        f"{max(turns, default=0):,}",
    )
    quantiles = {
        name: [bucket.seconds.quantile(share) for bucket in buckets]
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    total = figures.total.seconds
    yield make_chart(
        "seconds",
        "Response times",
        axis,
        [Series(name, name, values, addresses) for name, values in quantiles.items()],
        shape=ChartShape.LINES,
        format_value=format_seconds,
        format_mark=_seconds_mark,
        summary=", ".join(
            f"{name} {format_seconds(total.quantile(share))}"
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        ),
    )


def _gauge_charts(gauges: GaugePoints | None, time_range: DashboardRange, at: datetime) -> Iterator[Chart]:
    if gauges is None:
        return
    axis = make_axis(time_range, at)
    queued, running, waits, memory = (highest_in_buckets(gauges.get(gauge, []), axis) for gauge in GAUGES)
    yield make_chart(
        "queue",
        "Queue",
        axis,
        [Series("waiting", "p95", queued), Series("running", "used", running)],
        shape=ChartShape.LINES,
        format_value=_format_whole_number,
        top=integer_top(max((value for value in (*queued, *running) if value is not None), default=0)),
        summary=_highest("longest", queued, _format_whole_number),
        empty_words=NO_SAMPLES,
    )
    yield make_chart(
        "wait",
        "Age of the oldest in the queue",
        axis,
        [Series("oldest", "used", waits)],
        shape=ChartShape.LINES,
        format_value=format_seconds,
        format_mark=_seconds_mark,
        summary=_highest("longest", waits, format_seconds),
        empty_words=NO_SAMPLES,
    )
    percents = [None if value is None else 100 * value for value in memory]
    yield make_chart(
        "memory",
        "Memory",
        axis,
        [Series("used", "used", percents)],
        shape=ChartShape.LINES,
        format_value=_percent,
        top=100,
        thresholds=[
            Threshold(WARN_MEMORY_PERCENT, f"{LEVEL_WORDS['warn']}: {WARN_MEMORY_PERCENT} %", "warn"),
            Threshold(BAD_MEMORY_PERCENT, f"{LEVEL_WORDS['bad']}: {BAD_MEMORY_PERCENT} %", "bad"),
        ],
        summary=_highest("highest", percents, _percent),
        empty_words=NO_SAMPLES,
    )


def _highest(word: str, values: Sequence[float | None], format_value: Callable[[float], str]) -> str:
    present = [value for value in values if value is not None]
    return f"{word}: {format_value(max(present))}" if present else "no samples"


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _seconds_mark(value: float) -> str:
    return f"{value:g} s"


def _format_whole_number(value: float) -> str:
    return format_count(round(value))


def _width_name(width: timedelta) -> str:
    """The width of a bucket in words: "minute", "5 minutes", "day"."""
    minutes = width // timedelta(minutes=1)
    for size, name in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0:
            return name if minutes == size else f"{minutes // size} {name}s"
    raise ValueError(width)
