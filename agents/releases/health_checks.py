"""The check of live releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from agents.health_checks import turn_figures
from agents.releases.validation import release_faults
from health_checks.check import Check, Concerns, Finding, Level, Link, Reader
from health_checks.run import Measurements


@dataclass(frozen=True, slots=True)
class LiveReleaseFault:
    """One reason why the live release of an agent cannot run."""

    agent_id: UUID
    agent_name: str
    fault: str


def live_release_faults(measurements: Measurements) -> list[LiveReleaseFault]:
    """The faults of all live releases, which are read with the figures of turns."""
    return [
        LiveReleaseFault(release.agent_id, release.agent_name, fault)
        for release in measurements.get(turn_figures).live_releases
        for fault in release_faults(release.configuration)
    ]


def evaluate_live_releases(faults: Sequence[LiveReleaseFault]) -> Sequence[Finding]:
    return [
        Finding(
            Level.BAD,
            f"The live release of {one.agent_name} cannot run: {one.fault}",
            link=Link("admin:agents_agent_change", args=(one.agent_id,)),
            agent_id=one.agent_id,
        )
        for one in faults
    ]


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="live_releases",
        title="Live releases",
        measure=live_release_faults,
        evaluator=evaluate_live_releases,
        alarms_when="each agent whose live release cannot run",
        remedy="Publish a draft that can run, or roll back to an older release. If a newer version wrote it, update "
        "all processes to that version.",
        readers=frozenset({Reader.OVERVIEW}),
        order=50,
        concerns=Concerns.AGENT,
        link=Link("admin:agents_agent_changelist"),
        permissions=("agents.view_agent",),
    ),
)
