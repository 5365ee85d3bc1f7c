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
        runs = read_results(agent, candidate.fingerprint)
        run = runs[-1] if runs else None
        found = {(line.area, line.name): line for one in runs for line in read_lines(one)}
        lines += [
            line
            for line in found.values()
            if line.area is not Area.CONFIGURATION and (not line.route or line.route in scope.routes)
        ]
        return GateVerdict(
            [
                GateProblem(line.name, line.message, line.remedy)
                for line in lines
                if line.outcome is CheckOutcome.FAILED
            ],
            _summary(run, candidate.fingerprint),
            Link("admin:monitoring_readinessrun_change", args=(run.pk,)) if run else None,
            Link(_RUN_PAGE, query={"agent": agent.slug}),
        )


def read_results(agent: Agent, fingerprint: str) -> list[ReadinessRun]:
    """The newest result of the past day about this configuration of the agent; where there is none, the newest about
    another draft of it and about the installation, in their order. One statement or three."""
    recent = ReadinessRun.objects.filter(_FINISHED, finished_at__gte=Now() - MAX_AGE)
    of_agent, of_installation = recent.filter(agent_id=agent.pk), recent.filter(agent_id=None)
    if (own := of_agent.filter(fingerprint=fingerprint).first()) is not None:
        return [own]
    # A change of the draft puts neither a model nor the installation right.
    others = [one for one in (of_agent.first(), of_installation.first()) if one is not None]
    return sorted(others, key=lambda one: one.pk)


def _summary(run: ReadinessRun | None, fingerprint: str) -> str:
    if run is None or run.finished_at is None:
        return (
            "Only the configuration was checked just now. Models, breaker, load and security were not checked in the "
            "past day."
        )
    if run.agent_id is None:
        about = "this installation, not of this draft"
    else:
        about = "this draft" if run.fingerprint == fingerprint else "another draft of this agent"
    return (
        f"The configuration was checked just now; the rest is the result of {run.finished_at:%Y-%m-%d %H:%M} UTC, "
        f"asked for by {run.requested_as}, of {about}."
    )
