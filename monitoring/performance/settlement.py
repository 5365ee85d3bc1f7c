"""What came of recommendations that were applied, also where a runner or the monitor has died in between."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from agents.models import Agent, Runner
from agents.models.runners import cancel_action, finish_action, heartbeat_timeout, set_claim_limit
from monitoring.models import ProcessSample, Recommendation, RecommendationKind
from monitoring.performance.effects import CONTEXT_EFFECT, EFFECT, agent_effect, find_successor, runner_effect
from monitoring.performance.situation import active_limits

# A runner that lives begins with its next heartbeat.
BEGIN: Final = timedelta(minutes=2)
CLEANUP: Final = timedelta(minutes=5)
# An effect that nobody has measured by then is not measured any more: the monitor stood still.
LATEST_EFFECT: Final = timedelta(hours=6)
_Status = Recommendation.Status


def settle(now: datetime) -> None:
    """End what has an outcome, and measure effects."""
    for row in Recommendation.objects.filter(status=_Status.APPLYING):
        with transaction.atomic():
            locked = Recommendation.objects.select_for_update(no_key=True).get(pk=row.pk)
            if locked.status == _Status.APPLYING:
                _settle(locked, now)
    _notice_releases(now)
    _measure_effects(now)
    _forget_limits(now)


def _settle(row: Recommendation, now: datetime) -> None:
    runner = Runner.objects.filter(pk=row.subject_id).first()
    is_alive = runner is not None and runner.status != runner.Status.STOPPED and not runner.is_silent(now)
    age = now - (row.decided_at or now)
    if row.kind == RecommendationKind.LOAD_REBALANCING:
        if not is_alive:
            _end_limit(row, now, "The runner ended before it had said that it claims less.")
        elif _reports_limit(row):
            _end(row, _Status.APPLIED, now, f"It has at most {row.action['claim_limit']} turns at a time.")
        elif age > BEGIN:
            _end_limit(row, now, "The runner has not said that it claims less.")
    elif runner is None or runner.action_id != row.pk:
        _end(row, _Status.FAILED, now, "Nobody knows any more what came of it.")
    elif runner.action_finished_at is not None:
        _end(row, _Status.APPLIED, now, runner.action_outcome)
    elif not is_alive:
        if row.kind == RecommendationKind.AGENT_RESTART:
            _end(row, _Status.APPLIED, now, "It has ended, and did not say how.")
        else:
            _end(row, _Status.FAILED, now, "The runner ended before it had said what came of it.")
    elif runner.action_started_at is None:
        # Taken back first: it must not begin when nobody waits for it any more.
        if age > BEGIN and cancel_action(runner.pk, row.pk):
            _end(row, _Status.FAILED, now, "The runner has not begun in two minutes.")
    elif row.kind == RecommendationKind.MEMORY_CLEANUP and age > CLEANUP:
        outcome = "The runner began, and has not said what came of it."
        # Else it could never do anything else, not even start anew.
        finish_action(runner.pk, row.pk, outcome)
        _end(row, _Status.FAILED, now, outcome)


def _end(row: Recommendation, status: Recommendation.Status, now: datetime, outcome: str) -> None:
    row.status, row.finished_at, row.outcome = status, now, outcome
    row.save(update_fields=["status", "finished_at", "outcome"])


def _end_limit(row: Recommendation, now: datetime, outcome: str) -> None:
    """End what has failed, and take its limit back: nobody would ever raise it, and the runner may live after all."""
    set_claim_limit(row.subject_id, None)
    _end(row, _Status.FAILED, now, outcome)


def _reports_limit(row: Recommendation) -> bool:
    newest = ProcessSample.objects.filter(process_id=row.subject_id, at__gt=row.decided_at).order_by("-at").first()
    return newest is not None and newest.figures.get("claim_limit") == row.action["claim_limit"]


def _notice_releases(now: datetime) -> None:
    """A new release of an agent is what was recommended: whether it helps is measured."""
    rows = Recommendation.objects.filter(status=_Status.OPEN, kind=RecommendationKind.CONTEXT_OPTIMIZATION)
    for row in rows:
        agent = Agent.objects.select_related("live_release").filter(pk=row.subject_id).first()
        release = agent.live_release if agent is not None else None
        if release is not None and release.published_at > row.created_at:
            Recommendation.objects.filter(pk=row.pk, status=_Status.OPEN).update(
                status=_Status.APPLIED,
                decided_at=release.published_at,
                decided_by=release.published_by_id,
                finished_at=now,
                outcome=f"Release {release.number} was published.",
                figures_before=agent_effect(row.subject_id, release.published_at),
            )


def _measure_effects(now: datetime) -> None:
    rows = Recommendation.objects.filter(
        status=_Status.APPLIED, figures_after__isnull=True, finished_at__gt=now - LATEST_EFFECT
    )
    for row in rows:
        ended_at = row.finished_at or now
        if row.agent_id is not None:
            if now - ended_at >= CONTEXT_EFFECT:
                _store_effect(row, agent_effect(row.agent_id, now))
        elif now - ended_at >= EFFECT and row.runner_id is not None:
            runner_id = row.runner_id
            if row.kind == RecommendationKind.AGENT_RESTART:
                successor = find_successor(row.host, row.decided_at or ended_at)
                if successor is None:
                    continue  # perhaps it comes yet
                runner_id = successor
            _store_effect(row, runner_effect(runner_id, now))


def _store_effect(row: Recommendation, effect: dict[str, object]) -> None:
    row.figures_after = effect
    row.save(update_fields=["figures_after"])


def _forget_limits(now: datetime) -> None:
    """The limit of a runner that is gone has gone with it; one that was only silent for a while has none either."""
    limits = {row.subject_id: row for row in active_limits()}
    present = Runner.objects.filter(pk__in=limits, heartbeat_at__gte=now - heartbeat_timeout())
    remaining = set(present.exclude(status=Runner.Status.STOPPED).values_list("pk", flat=True))
    for runner_id, row in limits.items():
        if runner_id not in remaining:
            with transaction.atomic():
                set_claim_limit(runner_id, None)
                row.reverted_at = now
                row.save(update_fields=["reverted_at"])
