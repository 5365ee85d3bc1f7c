"""Reads what a plan depends on: a handful of queries, each of few rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection

from agents.models import Agent, Runner
from monitoring.models import UNFINISHED, ApplyMode, Recommendation, RecommendationKind, RecommendationPolicy
from monitoring.performance.effects import CONTEXT_EFFECT, read_contexts, read_points
from monitoring.performance.moves import (
    MEMORY,
    ClaimLimit,
    OpenRecommendation,
    PastRecommendation,
    PerformanceSituation,
)
from monitoring.performance.series import AgentContext, RunnerSeries

# Enough for the longest window and those before it.
SERIES: Final = timedelta(minutes=8)
_APPLIED: Final = (Recommendation.Status.APPLIED, Recommendation.Status.FAILED)


def database_now() -> datetime:
    """The time of the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment


def read_modes() -> dict[RecommendationKind, ApplyMode]:
    """How each kind is dealt with."""
    modes = dict.fromkeys(RecommendationKind, ApplyMode.SUGGEST)
    return modes | {RecommendationKind(row.kind): ApplyMode(row.mode) for row in RecommendationPolicy.objects.all()}


def read_situation(now: datetime) -> PerformanceSituation:
    """All that the monitor looks at."""
    return PerformanceSituation(
        now=now,
        runners=read_runners(now),
        agents=read_agents(now),
        open_items=[
            OpenRecommendation(
                row.pk, RecommendationKind(row.kind), row.reason, row.subject_id, row.status == row.Status.APPLYING
            )
            for row in Recommendation.objects.filter(status__in=UNFINISHED)
        ],
        past=[
            PastRecommendation(
                RecommendationKind(row.kind),
                row.subject_id,
                row.host,
                row.finished_at or row.decided_at or row.created_at,
                row.status == row.Status.DISMISSED,
            )
            for row in Recommendation.objects.filter(
                status__in=(*_APPLIED, Recommendation.Status.DISMISSED), decided_at__gt=now - MEMORY
            )
        ],
        limits=[
            ClaimLimit(
                row.pk, row.runner_id, row.action["claim_limit"], datetime.fromisoformat(row.action["changed_at"])
            )
            for row in active_limits()
            if row.runner_id is not None
        ],
        modes=read_modes(),
    )


def active_limits() -> list[Recommendation]:
    """The recommendations whose limit of claims is in force."""
    applied = Recommendation.objects.filter(
        kind=RecommendationKind.LOAD_REBALANCING, status=Recommendation.Status.APPLIED, reverted_at=None
    )
    return list(applied)


def read_runners(now: datetime) -> list[RunnerSeries]:
    """The live runners with their samples."""
    runners = list(Runner.objects.alive().order_by("pk"))
    points = read_points([runner.pk for runner in runners], now - SERIES, now)
    return [
        RunnerSeries(
            runner.pk,
            runner.host,
            runner.pid,
            runner.capacity,
            runner.claim_limit,
            runner.running,
            points[runner.pk],
        )
        for runner in runners
    ]


def read_agents(now: datetime) -> list[AgentContext]:
    """Agents with the use of their models' windows in the last hour."""
    contexts = read_contexts(now - CONTEXT_EFFECT, now)
    names: dict[UUID, str] = dict(
        Agent.objects.filter(pk__in=[context.id for context in contexts]).values_list("pk", "name")
    )
    return [
        AgentContext(context.id, names[context.id], context.calls, context.mean_percent)
        for context in contexts
        if context.id in names
    ]
