"""The check of deployments: what was withdrawn lately, and what cannot go on by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from django.db.models import Q
from django.db.models.functions import Now

from agents.domain.deployment_verdict import DeploymentDecision
from agents.domain.deployments import DeploymentState
from agents.models import Deployment
from health_checks.check import Check, Concerns, Finding, Level, Link, Reader
from health_checks.run import Measurements

_WITHDRAWN = Q(state=DeploymentState.ROLLED_BACK, ended_at__gte=Now() - timedelta(days=1))
_WAITING = Q(
    state__in=(DeploymentState.VALIDATING, DeploymentState.CANARY, DeploymentState.WATCHING),
    verdict__decision=DeploymentDecision.HOLD.value,
)


def find_deployments(measurements: Measurements) -> list[Deployment]:  # noqa: ARG001
    """The deployments that somebody should look at, newest first. One statement."""
    rows = Deployment.objects.select_related("agent", "candidate").filter(_WITHDRAWN | _WAITING)
    return list(rows.order_by("-created_at")[:20])


def evaluate_deployments(deployments: Sequence[Deployment]) -> Sequence[Finding]:
    return [
        Finding(
            Level.BAD if one.state == DeploymentState.ROLLED_BACK else Level.WARN,
            f"{one.agent.name}, release {one.candidate.number}: {one.reason or one.verdict.get('sentence', '')}",
            link=Link("admin:agents_deployment_change", args=(one.pk,)),
            agent_id=one.agent_id,
        )
        for one in deployments
    ]


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="deployments",
        title="Deployments",
        measure=find_deployments,
        evaluator=evaluate_deployments,
        alarms_when="a release was withdrawn within a day, or a deployment cannot go on by itself",
        remedy="Open it: it says why, with the numbers. What was withdrawn answers nobody any more. One that waits for "
        "traffic goes on when there is enough; or promote it yourself, or go back.",
        readers=frozenset({Reader.OVERVIEW}),
        order=55,
        concerns=Concerns.AGENT,
        link=Link("admin:agents_deployment_changelist"),
        permissions=("agents.view_deployment",),
    ),
)
