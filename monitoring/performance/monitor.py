"""One pass of the performance monitor, after each sample of the gauges, in one process at a time."""

from __future__ import annotations

import structlog
from django.db import transaction

from foundation.errors import Conflict, NotFound
from foundation.process_work import Process
from monitoring.models import Recommendation
from monitoring.performance.moves import Apply, Propose, RaiseLimit, Withdraw, plan_moves
from monitoring.performance.recommendation_actions import MONITOR, apply_recommendation, raise_limit, withdraw
from monitoring.performance.rules import Proposal
from monitoring.performance.settlement import settle
from monitoring.performance.situation import database_now, read_situation
from monitoring.sampling.sampler import Sampler

log = structlog.get_logger(__name__)


def make_sampler(process: Process) -> Sampler:
    """The sampler of a process, which calls the monitor."""
    return Sampler(process, analyse=watch_performance)


def watch_performance() -> None:
    """Find out what came of what was applied, look at the samples of the last minutes, and do what they give reason to.

    Each step is a transaction of its own: whoever dies between two leaves nothing half done, and the next pass goes on.
    """
    now = database_now()
    settle(now)
    for move in plan_moves(read_situation(now)):
        match move:
            case Propose(proposal, applies):
                row = _propose(proposal)
                if applies:
                    _apply(row)
            case Apply(recommendation_id):
                _apply(Recommendation.objects.get(pk=recommendation_id))
            case Withdraw(recommendation_id, reason):
                withdraw(recommendation_id, reason)
            case RaiseLimit(recommendation_id, runner_id, limit):
                raise_limit(MONITOR, recommendation_id=recommendation_id, limit=limit)
                log.info("claim_limit.raised", runner=str(runner_id), limit=limit)


def _propose(proposal: Proposal) -> Recommendation:
    row = Recommendation.objects.create(
        kind=proposal.kind,
        runner_id=proposal.runner_id,
        agent_id=proposal.agent_id,
        subject=proposal.subject,
        reason=proposal.reason,
        evidence=[evidence.as_json() for evidence in proposal.evidence],
        action=proposal.action,
    )
    log.warning("recommendation.proposed", kind=row.kind, subject=row.subject, reason=row.reason)
    return row


def _apply(row: Recommendation) -> None:
    try:
        with transaction.atomic():
            apply_recommendation(MONITOR, recommendation_id=row.pk)
    except (Conflict, NotFound) as error:
        # A person was faster, or the runner has gone: the next pass sees what is left.
        log.info("recommendation.not_applied", kind=row.kind, subject=row.subject, reason=error.detail)
    else:
        log.warning("recommendation.applied", kind=row.kind, subject=row.subject, reason=row.reason)
