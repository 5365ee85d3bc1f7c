"""Sessions that try something out are in no figure of production.

Turns, failures, ratings and handoffs are planted in sessions of each purpose, and every figure that there is must be
what it was: those of the alerts' registry, of /metrics, of the checks, of the samples and of the pages. What is planted
in one more session of production must change them, or this would show nothing; a new figure that does not change has to
be named below, with those that are about the load or the installation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import reverse

from accounts.models import User
from accounts.roles import Role
from agents.admin.inbox.inbox_filters import count_waiting
from agents.domain.session_purposes import SessionPurpose
from agents.domain.usage import BilledUsage
from agents.journal.compaction import compact_turns
from agents.journal.usage_rollups import UsageBy, UsageFilter, UsageTotal, read_usage
from agents.journal.utility_calls import UtilityOutcome, UtilityOwner, begin_utility_call, end_utility_call
from agents.models import AgentSession, Feedback, Handoff, Message, Turn, TurnText
from agents.sessions.crud import delete_session
from agents.sessions.rating_counts import count_ratings
from agents.tasks import compact_events
from foundation.clock import now
from health_checks.check import Reader
from health_checks.registry import registry
from health_checks.run import run_checks
from monitoring.alerts.metrics import METRICS, MetricKind, read_values
from monitoring.dashboard import dashboard
from monitoring.models import GaugeSample
from monitoring.patterns import Choice, read_patterns
from monitoring.prometheus.families import Family
from monitoring.prometheus.scrapes import read_figures
from monitoring.sampling.gauge_samples import write_gauges
from monitoring.task_completion import Breakdown
from monitoring.time_ranges import RANGES
from tests.support.consoles import changelist_of
from tests.support.conversations import Conversation, conversation
from tests.support.past_turns import PastStep, past_turn
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")

Figures = dict[str, Any]

APART: Final = sorted(set(SessionPurpose) - {SessionPurpose.PRODUCTION})
# A user and a candidate of production wait for so long; those of trials for longer.
WAIT, LONGER_WAIT = timedelta(minutes=15), timedelta(hours=2)
COST: Final = Decimal("0.25")
# Figures of the machine, the processes and the database, which change by themselves.
OF_PROCESSES: Final = frozenset({"process", "host", "runner"})
UNSTEADY: Final = (
    "database", "memory", "disk", "scrape", "build_info", "connections", "event_lag", "scheduler", "start_files",
)  # fmt: skip
# What no ended turn, rating or handoff changes: load, the installation, money, and what was not planted. A figure of
# production does not belong here.
UNCHANGED: Final = frozenset(
    """
    active_sessions alerts approvals approvals_open budget_differences budget_used_percent budgets budgets_overdrawn
    build_info connections context_windows database_bytes database_connections database_connections_percent
    database_max_connections database_size_bytes database_up deployments disk_used_percent dropped_spans embeddings
    ending_keys event_lag_seconds failed_jobs failed_notifications jobs_failed ledger live_releases maintenance memory
    memory_percent open_breakers open_routes prices queue queue_depth queue_oldest_seconds route_states routes
    runner_capacity runner_failed_checks runners runners_alive running_turns scheduler_heartbeat_seconds
    scheduler_silent_seconds scrape_seconds spend start_files stuck_turns turns_open turns_stuck
    """.split()  # noqa: SIM905 - a list of one word a line would fill a page
)


def plant(session: AgentSession, *, waited: timedelta) -> None:
    """Turns that ended well and badly, their calls, a rating, side work, and somebody who waits for a person."""
    at = now() - timedelta(minutes=3)
    used: dict[str, Any] = {"input_tokens": 100, "output_tokens": 10, "cost_usd": COST}
    details = {"first_token_seconds": 1.0, "context": {"window": 1_000}}
    steps = [PastStep(0.2, 40, details=details, **used), PastStep(40, 41, kind="tool", name="clock")]
    good = past_turn(session, ended_at=at, seconds=42, queue=0.2, steps=steps, fallback="cached_response", **used)
    bad = PastStep(0.2, 50, status="failed", error_class="auth")
    failed = past_turn(session, ended_at=at, seconds=52, status="failed", error_class="auth", steps=[bad, *5 * [bad]])
    past_turn(session, ended_at=at, status="failed", error_class="auth", retried_by=good, cost_usd=None)
    answer = Message.objects.create(
        agent_session=session, ordinal=900, author="agent", turn=good, parts=[{"type": "text", "text": "It is noon."}]
    )
    Feedback.objects.create(
        agent_session=session, message=answer, user_id=session.user_id, value=-1, turn=good, release=session.release
    )
    Handoff.objects.create(
        agent_session=session, turn=failed, requested_by="agent", reason="Help", requested_at=now() - waited,
        reply_due_at=now() - timedelta(minutes=1), last_user_message_at=now() - waited,
    )  # fmt: skip
    call = begin_utility_call(UtilityOwner(session.user_id, session.pk), purpose="title", route="offline", attempt=1)
    end_utility_call(call, UtilityOutcome(BilledUsage(20, 5, Decimal("0.01"))))


def begin(purpose: SessionPurpose, name: str) -> Conversation:
    one = conversation(name)
    AgentSession.objects.filter(pk=one.session_id).update(purpose=purpose)
    return one


@pytest.fixture
def owner() -> User:
    return person("olga", Role.OWNER)


@pytest.fixture
def base(owner: User) -> Figures:
    """What there is before: production has one of everything."""
    ada = conversation()
    plant(ada.row, waited=WAIT)
    return read_everything(owner)


# --- the readers: each yields figures by name ---


def read_everything(owner: User) -> Figures:
    return {name: figure for reader in READERS for name, figure in reader(owner)}


def read_alert_metrics(_: User) -> Iterator[tuple[str, Any]]:
    GaugeSample.objects.all().delete()
    write_gauges()
    for name, metric in METRICS.items():
        window = timedelta(hours=1) if metric.kind is MetricKind.WINDOW else timedelta(0)
        for group_by in [(), *((label,) for label in metric.labels)]:
            values = read_values(metric, labels={}, group_by=group_by, window=window, at=[now()])
            yield (
                f"alert {name} by {','.join(group_by)}",
                {key: steady(name, value[0]) for key, value in values.items()},
            )


def read_samples(_: User) -> Iterator[tuple[str, Any]]:
    for sample in GaugeSample.objects.all():
        yield f"sample {sample.metric}{sample.labels}", steady(sample.metric, sample.value)


def read_prometheus(_: User) -> Iterator[tuple[str, Any]]:
    for family, values in read_figures("test").values.items():
        assert isinstance(family, Family)
        if OF_PROCESSES.isdisjoint(family.labels):
            yield f"metrics {family.name}", {key: steady(family.name, value) for key, value in values.items()}


def read_checks(_: User) -> Iterator[tuple[str, Any]]:
    checks = registry.for_reader(Reader.OVERVIEW, has_permission=lambda _: True)
    for result in run_checks(checks, now=now(), seconds=30):
        assert result.fault is None, result.error
        name = result.check.name
        # How long somebody waits is in the words of that check.
        with_words = name != "people_waiting"
        found = [(finding.level, finding.value, with_words and finding.message) for finding in result.findings]
        yield f"check {name}", steady(name, found)


def read_dashboard(owner: User) -> Iterator[tuple[str, Any]]:
    for time_range in RANGES.values():
        context = dashboard(owner, time_range)
        assert not context["figures_fault"]
        yield f"page failures {time_range.name}", sorted(turn.pk for turn in context["failed_turns"])
        for figure in context["figures"]:
            # A rate is of a range that grows with each minute.
            words = figure.message if figure.name != "Turns" else ""
            yield f"page figure {figure.name} {time_range.name}", (figure.value, words)
        for chart in context["charts"]:
            if chart.key in {"turns", "seconds"}:
                yield f"page chart {chart.key} {time_range.name}", chart.summary


def read_all_patterns(_: User) -> Iterator[tuple[str, Any]]:
    for by in Breakdown:
        found = read_patterns(Choice(RANGES["24h"], by), now())
        patterns = [replace(one, period=replace(one.period, minutes=0)) for one in (found.total, *found.groups)]
        yield f"patterns {by}", (patterns, found.errors, found.operations)


def read_all_usage(_: User) -> Iterator[tuple[str, Any]]:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for by in UsageBy:
        usage = read_usage(today - timedelta(days=2), today + timedelta(days=1), by=by, of=UsageFilter())
        rows = {key: (one.turns, one.turn_cost_usd, one.side_calls, one.side_cost_usd) for key, one in usage.items()}
        yield f"usage {by}", {key: row for key, row in rows.items() if any(row)}


def read_ratings_and_people(owner: User) -> Iterator[tuple[str, Any]]:
    yield "console ratings", count_ratings()
    people, _ = count_waiting(owner)
    yield "console inbox", people


def read_lists(owner: User) -> Iterator[tuple[str, Any]]:
    """The lists that figures lead to."""
    client = Client()
    client.force_login(owner)
    since = (now() - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M")
    for name, query in {
        "turn": {"ended_since": since}, "turn unanswered": {"state": "unanswered"},
        "feedback": {"of": "turns"}, "handoff waiting": {"show": "waiting"}, "handoff open": {"show": "open"},
    }.items():  # fmt: skip
        rows = changelist_of(client, reverse(f"admin:agents_{name.split()[0]}_changelist"), query).result_list
        yield f"list {name}", sorted(row.pk for row in rows)


READERS: Final = (
    read_alert_metrics, read_samples, read_prometheus, read_checks, read_dashboard, read_all_patterns, read_all_usage,
    read_ratings_and_people, read_lists,
)  # fmt: skip


def steady(name: str, value: Any) -> Any:
    """Ages in tens of minutes, and nothing of what changes by itself."""
    if any(word in name for word in UNSTEADY):
        return None
    return value // 600 if "wait_seconds" in name and value is not None else value


def short_name(name: str) -> str:
    """Of a figure, without where it was read and its labels."""
    return name.split()[1].partition("{")[0].removeprefix("bandstand_")


def changed(before: Figures, after: Figures) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


# --- what must hold ---


@pytest.mark.parametrize("purpose", APART)
def test_what_is_tried_out_is_in_no_figure_of_production(base: Figures, owner: User, purpose: SessionPurpose) -> None:
    builder = begin(purpose, "bob")
    plant(builder.row, waited=LONGER_WAIT)
    assert changed(base, read_everything(owner)) == set(), "before it is counted"
    compact_turns(list(Turn.objects.values_list("agent_session_id", "pk")))
    assert set(Turn.objects.values_list("compacted", flat=True)) == {True}, "nobody looks at them again"
    assert changed(base, read_everything(owner)) == set(), "when it is counted"
    Handoff.objects.filter(agent_session=builder.session_id).update(state="resolved", resolved_at=now())
    delete_session(builder.actor, session_id=builder.session_id, expected_version=None)
    assert changed(base, read_everything(owner)) == set(), "when it is deleted"


def test_every_figure_is_changed_by_a_session_of_production(base: Figures, owner: User) -> None:
    session = begin(SessionPurpose.PRODUCTION, "bob").row
    plant(session, waited=LONGER_WAIT)
    # Another mix, so that shares and quantiles change, too.
    at = now() - timedelta(minutes=3)
    slow = [PastStep(60, 300, details={"first_token_seconds": 90.0}, input_tokens=9, output_tokens=9)]
    for _ in range(5):
        past_turn(session, ended_at=at, seconds=400, queue=60, steps=slow)
    same = base.keys() - changed(base, read_everything(owner))
    assert {short_name(name) for name in same} == UNCHANGED


def test_the_cost_of_trials_stands_in_the_usage_by_its_purpose() -> None:
    for purpose in SessionPurpose:
        plant(begin(purpose, "bob").row, waited=WAIT)
    expected = {
        "turn": UsageTotal(3, 0, 100, 10, COST, cost_unknown=1),
        "title": UsageTotal(0, 1, 20, 5, side_cost_usd=Decimal("0.01")),
        **{
            purpose.value: UsageTotal(
                0, 0, 120, 15, cost_unknown=1, trial_calls=4, trial_cost_usd=COST + Decimal("0.01")
            )
            for purpose in APART
        },
    }
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    span = today - timedelta(days=2), today + timedelta(days=1)
    assert read_usage(*span, by=UsageBy.PURPOSE, of=UsageFilter()) == expected
    compact_turns(list(Turn.objects.values_list("agent_session_id", "pk")))
    assert read_usage(*span, by=UsageBy.PURPOSE, of=UsageFilter()) == expected
    total = read_usage(*span, by=None, of=UsageFilter())[None]
    assert total.cost_usd == 4 * (COST + Decimal("0.01"))


def test_words_of_trials_are_not_stored_for_search() -> None:
    for purpose in SessionPurpose:
        plant(begin(purpose, "bob").row, waited=WAIT)
    compact_events()
    stored = TurnText.objects.values_list("turn__agent_session__purpose", flat=True)
    assert set(stored) == {SessionPurpose.PRODUCTION}
    assert not Turn.objects.filter(compacted=False).exists()


def test_nobody_but_users_of_the_console_has_figures() -> None:
    assert dashboard(AnonymousUser(), RANGES["1h"])["figures"] == []


def test_sessions_with_an_open_turn_are_counted_of_production_only(owner: User) -> None:
    before = dict(read_checks(owner))["check active_sessions"]
    for purpose in APART:
        begin(purpose, "bob").ask()
    write_gauges()
    assert dict(read_checks(owner))["check active_sessions"] == before
    assert GaugeSample.objects.get(metric="active_sessions").value == 0
    # It waits for a runner, whatever it is for.
    assert GaugeSample.objects.get(metric="queue_depth").value == len(APART)
    begin(SessionPurpose.PRODUCTION, "bob").ask()
    assert dict(read_checks(owner))["check active_sessions"] != before
