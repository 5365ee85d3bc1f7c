"""Counters and histograms from real turns: what no deletion lowers, and that every metric is really there."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from agents.journal.compaction import compact_turns
from agents.management.demo.removal import remove
from agents.models import Agent, AgentDraft, AgentSession, Budget, Release, RouteHealth, Runner, Turn
from agents.sessions import delete_session
from monitoring.models import GaugeSample
from monitoring.prometheus import families
from monitoring.prometheus.counters import OTHER, read_counters
from monitoring.prometheus.families import FAMILIES, Distribution, Figures, Kind
from monitoring.prometheus.scrapes import read_figures
from scheduling.tasks import record_scheduler_heartbeat
from tests.integration.monitoring.prometheus.test_process_state import sample
from tests.support.conversations import Conversation, conversation
from tests.support.past_turns import PastStep, past_turn
from tests.support.people import agent

pytestmark = pytest.mark.django_db
Series = dict[tuple[str, ...], float]


def some_turns(session: AgentSession) -> None:
    """Turns with calls of a model and of tools, some of which failed."""
    ended_at = timezone.now() - timedelta(minutes=5)
    past_turn(
        session, ended_at=ended_at, seconds=10, cost_usd=Decimal("0.02"),
        steps=[
            PastStep(0.5, 3.5, input_tokens=500, output_tokens=20, details={"first_token_seconds": 1.5}),
            PastStep(4, 6, "tool", "clock"),
            PastStep(5, 7, "tool", "made_up", "failed", "tool_error"),
        ],
    )  # fmt: skip
    past_turn(session, ended_at=ended_at, fallback="static_message", cost_usd=None)
    past_turn(session, ended_at=ended_at, status="failed", error_class="transient",
              steps=[PastStep(0.1, 2, status="failed", error_class="transient")])  # fmt: skip
    past_turn(session, ended_at=ended_at, status="failed", error_class="set_aside")


def counted() -> Series:
    """Every counter, every bucket, count and sum, by its name and its labels."""
    figures = Figures()
    read_counters(figures)
    series: Series = {}
    for family, values in figures.values.items():
        for labels, value in values.items():
            if isinstance(value, Distribution):
                series |= {(family.name, *labels, bound): count for bound, count in value.buckets}
                series |= {(family.name, *labels, "count"): value.count, (family.name, *labels, "sum"): value.total}
            else:
                series[family.name, *labels] = value
    return series


def compact() -> None:
    compact_turns(list(Turn.objects.filter(compacted=False).values_list("agent_session_id", "id")))


def test_counters_are_what_happened() -> None:
    agent(tools=["clock"])
    some_turns(conversation().row)
    series = counted()
    assert series["bandstand_turns_total", "demo", "completed"] == 2
    assert series["bandstand_turns_total", "demo", "failed"] == 2
    assert series["bandstand_turn_failures_total", "transient"] == 1
    assert sum(value for key, value in series.items() if key[0] == "bandstand_turn_failures_total") == 1
    assert series["bandstand_turn_fallbacks_total", "demo"] == 1
    assert series["bandstand_turn_cost_usd_total", "demo"] == 0.02
    assert series["bandstand_turn_cost_unknown_total", "demo"] == 1
    assert series["bandstand_turn_seconds", "demo", "count"] == 4
    assert series["bandstand_turn_seconds", "demo", "10.0"] == 4
    assert series["bandstand_turn_seconds", "demo", "5.0"] == 3
    assert series["bandstand_turn_added_seconds", "count"] == 4
    model = ("chat", "openai", "gpt-4o")
    assert series["gen_ai_client_operation_duration_seconds", *model, "", "", "count"] == 1
    assert series["gen_ai_client_operation_duration_seconds", *model, "", "transient", "count"] == 1
    # The release of this agent allows the clock, and no tool of the other name.
    tool = ("execute_tool", "", "")
    assert series["gen_ai_client_operation_duration_seconds", *tool, "clock", "", "count"] == 1
    assert series["gen_ai_client_operation_duration_seconds", *tool, OTHER, "tool_error", "count"] == 1
    assert series["gen_ai_client_token_usage", *model, "input", "sum"] == 500


def test_no_deletion_lowers_what_was_counted() -> None:
    ada, eve = conversation("ada"), conversation("eve")
    for each in (ada, eve):
        some_turns(each.row)
    before = counted()
    compact()
    assert counted() == before
    some_turns(ada.row)
    before = counted()
    # What is in no rollup yet, and what is.
    for each in (ada, eve):
        _delete(each)
        assert counted() == before
    assert not Turn.objects.exists()


def _delete(conversation: Conversation) -> None:
    row = AgentSession.objects.get(pk=conversation.row.pk)
    delete_session(conversation.actor, session_id=row.pk, expected_version=row.version)


def test_an_agent_that_is_deleted_leaves_its_counts() -> None:
    ada = conversation()
    some_turns(ada.row)
    _delete(ada)
    before = counted()
    demo = Agent.objects.get(slug="demo")
    Agent.objects.update(live_release=None)
    AgentDraft.objects.all().delete()
    Release.objects.all()._raw_delete("default")
    Agent.objects.all()._raw_delete("default")
    after = counted()
    assert after["bandstand_turns_total", str(demo.pk), "completed"] == 2
    for key in after.keys() & before.keys():
        # Tools that no release allows any more are counted together.
        assert after[key] >= before[key], key


def test_the_demo_changes_nothing_whether_it_comes_or_goes() -> None:
    some_turns(conversation().row)
    compact()
    before = counted()
    sample_session = conversation("sample-user-00001", slug="sample-support").row
    assert counted() == before
    some_turns(sample_session)
    assert counted() == before
    compact()
    assert counted() == before
    remove(report=lambda line: None)
    assert not Agent.objects.filter(slug="sample-support").exists()
    assert counted() == before


def test_every_metric_is_there_when_everything_has_happened() -> None:
    some_turns(conversation().row)
    record_scheduler_heartbeat()
    Runner.objects.create(host="here", pid=7, capacity=8)
    RouteHealth.objects.create(provider="openai", model="gpt-4o", credential="x")
    Budget.objects.create(subject="everybody", unit="usd", period="month", amount=10)
    sample()
    GaugeSample.objects.create(metric="active_sessions", at=timezone.now(), value=1)
    figures = read_figures("1.0")
    assert {family.name for family in FAMILIES} - {family.name for family in figures.values} == set()
    for family in (families.TURN_SECONDS, families.OPERATION_SECONDS, families.FIRST_CHUNK_SECONDS):
        assert family.kind is Kind.HISTOGRAM
        assert all(isinstance(value, Distribution) and value.buckets for value in figures.values[family].values())
