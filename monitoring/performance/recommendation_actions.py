"""What people and the monitor do with recommendations: apply, dismiss; and who may apply which."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.models import Runner
from agents.models.runners import request_action, set_claim_limit
from foundation.advisory_locks import AdvisoryLock, advisory_xact_lock
from foundation.errors import Conflict, InvalidInput, NotFound
from monitoring.models import ApplyMode, Recommendation, RecommendationKind, RecommendationPolicy
from monitoring.performance.effects import runner_effect
from monitoring.performance.situation import database_now
from monitoring.role_permissions import APPLY_RECOMMENDATION, CHANGE_RECOMMENDATION_POLICY

MONITOR: Final = Actor.system("performance monitor")

_ACTIONS: Final = {
    RecommendationKind.MEMORY_CLEANUP: Runner.Action.FREE_MEMORY,
    RecommendationKind.AGENT_RESTART: Runner.Action.RESTART,
}


@transaction.atomic
def apply_recommendation(actor: Actor, *, recommendation_id: UUID) -> Recommendation:
    """Have a runner do what is recommended, and return the recommendation: it is done after the runner's next
    heartbeat, and its outcome is known some seconds later.

    Raises `Forbidden`, `NotFound`, and `Conflict` if it is not open any more, its runner is gone or does something
    else, another runner is restarting, or only a person can do it.
    """
    require_permission(actor, APPLY_RECOMMENDATION)
    # Two at once could restart two runners.
    advisory_xact_lock(AdvisoryLock.APPLY_RECOMMENDATION)
    row = lock_open(recommendation_id)
    if row.runner_id is None:
        raise Conflict("What an agent sends is set in its draft: change its context policy there, and publish it.")
    runner = Runner.objects.alive().select_for_update(no_key=True).filter(pk=row.runner_id).first()
    if runner is None:
        raise Conflict("This runner is gone, or takes no more turns.")
    if runner.action_id is not None and runner.action_finished_at is None:
        raise Conflict("This runner does something else just now. Wait until that is done.")
    applying = Recommendation.objects.filter(status=Recommendation.Status.APPLYING)
    if row.kind == RecommendationKind.AGENT_RESTART and applying.filter(kind=RecommendationKind.AGENT_RESTART).exists():
        raise Conflict("Another runner is restarting just now. One at a time.")
    now = database_now()
    row.figures_before = runner_effect(runner.pk, now)
    if row.kind == RecommendationKind.LOAD_REBALANCING:
        set_claim_limit(runner.pk, row.action["claim_limit"])
        row.action["changed_at"] = now.isoformat()
    else:
        request_action(runner.pk, row.pk, _ACTIONS[RecommendationKind(row.kind)])
    row.status, row.decided_at, row.decided_by_id = row.Status.APPLYING, now, actor.user_id
    row.automatic = actor == MONITOR
    row.save(update_fields=["figures_before", "action", "status", "decided_at", "decided_by", "automatic"])
    record_audit(actor, "recommendation.applied", target=row, detail={"reason": row.reason, "evidence": row.evidence})
    return row


@transaction.atomic
def dismiss_recommendation(actor: Actor, *, recommendation_id: UUID) -> Recommendation:
    """End a recommendation without doing it, and return it; nothing of its kind is recommended for its subject for six
    hours. Raises `Forbidden`, `NotFound`, `Conflict` if it is not open any more."""
    require_permission(actor, APPLY_RECOMMENDATION)
    row = lock_open(recommendation_id)
    row.status, row.decided_at, row.decided_by_id = row.Status.DISMISSED, database_now(), actor.user_id
    row.finished_at = row.decided_at
    row.save(update_fields=["status", "decided_at", "decided_by", "finished_at"])
    record_audit(actor, "recommendation.dismissed", target=row)
    return row


@transaction.atomic
def set_apply_mode(actor: Actor, *, kind: RecommendationKind, mode: ApplyMode) -> RecommendationPolicy:
    """Set who applies the recommendations of a kind, and return the policy. Raises `Forbidden`, and `InvalidInput` for
    a kind that only a person can apply."""
    require_permission(actor, CHANGE_RECOMMENDATION_POLICY)
    if kind is RecommendationKind.CONTEXT_OPTIMIZATION and mode is ApplyMode.AUTOMATIC:
        raise InvalidInput("What an agent sends is a person's decision.", pointer=f"/{kind}")
    policy, is_new = RecommendationPolicy.objects.select_for_update().get_or_create(kind=kind)
    previous = ApplyMode.SUGGEST if is_new else ApplyMode(policy.mode)
    if mode is not previous:
        policy.mode = mode
        policy.save(update_fields=["mode"])
        record_audit(actor, "recommendation_policy.changed", target=policy, detail={"was": previous, "mode": mode})
    return policy


def lock_open(recommendation_id: UUID) -> Recommendation:
    """The open recommendation, locked. Raises `NotFound`, `Conflict`."""
    row = Recommendation.objects.select_for_update(no_key=True).filter(pk=recommendation_id).first()
    if row is None:
        raise NotFound("There is no such recommendation here.")
    if row.status != row.Status.OPEN:
        raise Conflict(f"This recommendation is {row.get_status_display().lower()} already.")
    return row


def raise_limit(actor: Actor, *, recommendation_id: UUID, limit: int | None) -> None:
    """Raise the limit of claims that a recommendation has set; None takes it back."""
    with transaction.atomic():
        row = Recommendation.objects.select_for_update(no_key=True).filter(pk=recommendation_id).first()
        if row is None or row.runner_id is None or row.reverted_at is not None:
            return
        set_claim_limit(row.runner_id, limit)
        if limit is None:
            row.reverted_at = database_now()
            row.save(update_fields=["reverted_at"])
            record_audit(actor, "recommendation.reverted", target=row)
        else:
            row.action = {"claim_limit": limit, "changed_at": database_now().isoformat()}
            row.save(update_fields=["action"])


def withdraw(recommendation_id: UUID, reason: str) -> None:
    """End an open recommendation that is no longer needed."""
    open_row = Recommendation.objects.filter(pk=recommendation_id, status=Recommendation.Status.OPEN)
    open_row.update(status=Recommendation.Status.OBSOLETE, outcome=reason, finished_at=Now())
