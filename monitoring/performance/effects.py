"""What a recommendation changed: the same figures of the minutes before it was applied, and of those after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from agents.models import Runner
from foundation.process_work import ProcessKind
from monitoring.figures import By, read_call_figures
from monitoring.models import ProcessSample
from monitoring.performance.series import AgentContext, RunnerPoint, TurnWindow

# What is compared; and for agents.
EFFECT: Final = timedelta(minutes=5)
CONTEXT_EFFECT: Final = timedelta(hours=1)


def read_points(runner_ids: Sequence[UUID], since: datetime, until: datetime) -> dict[UUID, list[RunnerPoint]]:
    """The samples of runners between two moments, oldest first. One query."""
    rows = ProcessSample.objects.filter(
        kind=ProcessKind.RUNNER.value, process_id__in=runner_ids, at__gt=since, at__lte=until
    ).order_by("at")
    points: dict[UUID, list[RunnerPoint]] = {runner_id: [] for runner_id in runner_ids}
    for row in rows:
        points[row.process_id].append(make_point(row))
    return points


def make_point(row: ProcessSample) -> RunnerPoint:
    """A sample, as the rules see it."""
    return RunnerPoint(
        row.at,
        row.status,
        row.requests_total,
        row.errors_total,
        float(row.figures.get("seconds_total", 0)),
        row.memory_bytes,
        row.memory_limit_bytes,
        row.active_sessions,
    )


def runner_effect(runner_id: UUID, until: datetime) -> dict[str, Any]:
    """The figures of a runner in the five minutes before `until`; empty without samples."""
    points = read_points([runner_id], until - EFFECT, until)[runner_id]
    if not points:
        return {}
    window, memory = TurnWindow(points), points[-1].memory_percent
    return {
        "memory_bytes": points[-1].memory_bytes,
        "memory_percent": None if memory is None else round(memory, 1),
        "turns": window.turns,
        "mean_seconds": None if window.mean_seconds is None else round(window.mean_seconds, 3),
        "error_percent": None if window.error_percent is None else round(window.error_percent, 1),
        "running": round(sum(point.running for point in points) / len(points), 1),
    }


def find_successor(host: str, after: datetime) -> UUID | None:
    """The runner that was started in place of one that ended on `host`: the first one after that."""
    started = Runner.objects.filter(host=host, started_at__gt=after).order_by("started_at")
    return started.values_list("pk", flat=True).first()


def read_contexts(since: datetime, until: datetime) -> list[AgentContext]:
    """How much of their models' windows the calls of agents used, without their names."""
    return [
        AgentContext(row.agent_id, "", row.calls, row.context_percent_mean)
        for row in read_call_figures(since, until, by=(By.AGENT, By.OPERATION))
        if row.agent_id is not None and row.operation == "model" and row.context_percent_mean is not None
    ]


def agent_effect(agent_id: UUID, until: datetime) -> dict[str, Any]:
    """The figures of an agent in the hour before `until`; empty without calls."""
    for context in read_contexts(until - CONTEXT_EFFECT, until):
        if context.id == agent_id:
            return {"calls": context.calls, "context_percent": round(context.mean_percent, 1)}
    return {}
