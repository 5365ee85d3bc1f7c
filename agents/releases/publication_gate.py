"""The gate of publishing: what has been found of a configuration that is to become a release, and who may go on.

The checks themselves stand above this package, which reads runs and alerts; the app that has them registers its gate in
`AppConfig.ready()`. Whatever makes a configuration live asks `require_ready`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from accounts.actor import Actor
from accounts.permissions import has_permission
from agents.models import Agent
from foundation.errors import Conflict, Forbidden, InvalidInput
from health_checks.check import Link

MAX_REASON = 400


class NotReady(Conflict):
    """The readiness checks have failed; an owner can go on with a reason."""

    code = "not_ready"


@dataclass(frozen=True, slots=True)
class GateProblem:
    """One check that has failed, and what to do."""

    name: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """`problems` keep the configuration from becoming a release. `summary` says, in a sentence, what was checked when;
    `result` is the page of the newest result that counts, `checks` the page on which the checks are run anew."""

    problems: Sequence[GateProblem] = ()
    summary: str = ""
    result: Link | None = None
    checks: Link | None = None


class PublicationGate(Protocol):
    """Judges configurations. `override_permission` is what somebody needs to go on in spite of problems."""

    override_permission: str

    def judge(self, agent: Agent, stored: Any) -> GateVerdict:
        """What is found of the stored configuration of `agent`. No network; some statements."""
        ...


class _OpenGate:
    """Where no app has registered one."""

    override_permission = ""

    def judge(self, agent: Agent, stored: Any) -> GateVerdict:  # noqa: ARG002
        return GateVerdict()


_gate: PublicationGate = _OpenGate()


def register_gate(gate: PublicationGate) -> None:
    """Have `gate` judge from now on."""
    global _gate  # noqa: PLW0603 - filled once, when the apps are ready
    _gate = gate


def judge_publication(agent: Agent, stored: Any) -> GateVerdict:
    """What the registered gate finds."""
    return _gate.judge(agent, stored)


def may_override(actor: Actor) -> bool:
    """Whether the actor may go on in spite of problems."""
    return not _gate.override_permission or has_permission(actor, _gate.override_permission)


def require_ready(actor: Actor, agent: Agent, stored: Any, *, reason: str = "") -> dict[str, Any]:
    """Raise `NotReady` for a configuration with problems, unless the actor may override them and gives a `reason`;
    `Forbidden` for a reason of somebody who may not. Returns what the audit trail is to keep of it.

    The system is not judged: it publishes the first agent of an installation, before anything could have been checked.
    """
    if actor.user_id is None:
        return {}
    verdict = judge_publication(agent, stored)
    if not verdict.problems:
        return {}
    names = [problem.name for problem in verdict.problems]
    reason = reason.strip()
    if not reason:
        raise NotReady(f"The readiness checks have failed: {', '.join(names)}. An owner can go on with a reason.")
    if not may_override(actor):
        raise Forbidden("Only an owner can publish in spite of failed checks.", rule=_gate.override_permission)
    if len(reason) > MAX_REASON:
        raise InvalidInput(f"A reason has at most {MAX_REASON} characters.", pointer="/reason")
    return {"failed_checks": names, "reason": reason}
