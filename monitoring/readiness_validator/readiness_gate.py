"""The gate of publishing by readiness: the configuration is checked anew, and the newest result counts besides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.db.models import Q
from django.db.models.functions import Now

from agents.models import Agent
from agents.releases.publication_gate import GateProblem, GateVerdict
from health_checks.check import Link
from monitoring.models import ReadinessRun
from monitoring.role_permissions import OVERRIDE_READINESS

# An older result says nothing of today.
MAX_AGE: Final = timedelta(hours=24)
_RUN_PAGE: Final = "admin:monitoring_readinessrun_run"
_FINISHED: Final = Q(status__in=[ReadinessRun.Status.PASSED, ReadinessRun.Status.FAILED])


class ReadinessGate:
    """See `agents.releases.publication_gate.PublicationGate`."""

    override_permission: str = OVERRIDE_READINESS

    def judge(self, agent: Agent, stored: Any) -> GateVerdict:
        """The failed lines of the area of configuration, which takes milliseconds, and those of the newest result."""
        # Imported late: the checks load the models' adapters, and this is registered in every process.
        from monitoring.readiness_validator.area_checks import make_scope, validate
        from monitoring.readiness_validator.candidates import ReleaseCandidate
        from monitoring.readiness_validator.check_lines import Area, CheckOutcome
        from monitoring.readiness_validator.runs import read_lines

        candidate = ReleaseCandidate(agent.pk, agent.slug, agent.name, "this configuration", stored)
        scope = make_scope([candidate])
        lines = validate(scope, [Area.CONFIGURATION])
        run = newest_result(agent, candidate.fingerprint)
        if run is not None:
            lines += [
                line
                for line in read_lines(run)
                if line.area is not Area.CONFIGURATION and (not line.route or line.route in scope.routes)
            ]
        return GateVerdict(
            [
                GateProblem(line.name, line.message, line.remedy)
                for line in lines
                if line.outcome is CheckOutcome.FAILED
            ],
            _summary(run),
            Link("admin:monitoring_readinessrun_change", args=(run.pk,)) if run else None,
            Link(_RUN_PAGE, query={"agent": agent.slug}),
        )


def newest_result(agent: Agent, fingerprint: str) -> ReadinessRun | None:
    """The newest result about this configuration of the agent, else about the installation; None where there is none of
    the past day. One statement or two."""
    recent = ReadinessRun.objects.filter(_FINISHED, finished_at__gte=Now() - MAX_AGE)
    own = recent.filter(agent_id=agent.pk, fingerprint=fingerprint).first()
    return own or recent.filter(agent_id=None).first()


def _summary(run: ReadinessRun | None) -> str:
    if run is None or run.finished_at is None:
        return (
            "Only the configuration was checked just now. Models, breaker, load and security were not checked in the "
            "past day."
        )
    about = "this draft" if run.agent_id else "this installation, not of this draft"
    return (
        f"The configuration was checked just now; the rest is the result of {run.finished_at:%Y-%m-%d %H:%M} UTC, "
        f"asked for by {run.requested_as}, of {about}."
    )
