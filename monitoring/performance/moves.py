"""What the monitor does in one pass: a pure function of samples, of what is open, and of what was done lately."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

from monitoring.models import ApplyMode
from monitoring.models import RecommendationKind as Kind
from monitoring.performance.rules import Proposal, find_proposals, has_ended, is_context_over, is_like_others
from monitoring.performance.series import AgentContext, RunnerSeries

# How long nothing of a kind is proposed for a subject after it was done there; twice as long for each further time.
COOL_DOWN: Final = {
    Kind.MEMORY_CLEANUP: timedelta(minutes=15),
    Kind.CONTEXT_OPTIMIZATION: timedelta(hours=6),
    Kind.LOAD_REBALANCING: timedelta(minutes=15),
    Kind.AGENT_RESTART: timedelta(minutes=15),
}
LONGEST_COOL_DOWN: Final = timedelta(hours=2)
# What is remembered of the past, and for how long a person's no holds.
MEMORY: Final = timedelta(hours=6)
# Between the end of a restart and the next one anywhere.
RESTART_PAUSE: Final = timedelta(minutes=5)
# Between two changes of a runner's limit.
LIMIT_PAUSE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class OpenRecommendation:
    """A recommendation that is not finished. `is_applying`: somebody has applied it."""

    id: UUID
    kind: Kind
    reason: str
    subject_id: UUID
    is_applying: bool = False

    @property
    def key(self) -> tuple[Kind, UUID]:
        """What there is one of at a time."""
        return self.kind, self.subject_id


@dataclass(frozen=True, slots=True)
class PastRecommendation:
    """A recommendation that was applied (whatever came of it) or dismissed within `MEMORY`, and when it ended. `host`:
    of its runner, for a runner that was restarted is another one."""

    kind: Kind
    subject_id: UUID
    host: str
    at: datetime
    is_dismissed: bool = False


@dataclass(frozen=True, slots=True)
class ClaimLimit:
    """A limit of claims that a recommendation has set and that is still in force."""

    recommendation_id: UUID
    runner_id: UUID
    limit: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class PerformanceSituation:
    """All that a plan depends on. `runners` are those that are alive and take turns."""

    now: datetime
    runners: Sequence[RunnerSeries] = ()
    agents: Sequence[AgentContext] = ()
    open_items: Sequence[OpenRecommendation] = ()
    past: Sequence[PastRecommendation] = ()
    limits: Sequence[ClaimLimit] = ()
    modes: Mapping[Kind, ApplyMode] = field(default_factory=dict)

    def mode(self, kind: Kind) -> ApplyMode:
        """How recommendations of a kind are dealt with."""
        return self.modes.get(kind, ApplyMode.SUGGEST)


@dataclass(frozen=True, slots=True)
class Propose:
    """Write a recommendation; apply it at once if `applies`."""

    proposal: Proposal
    applies: bool = False


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply an open recommendation."""

    recommendation_id: UUID


@dataclass(frozen=True, slots=True)
class Withdraw:
    """End an open recommendation that is no longer needed."""

    recommendation_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class RaiseLimit:
    """Raise the limit of a runner's claims; None lifts it."""

    recommendation_id: UUID
    runner_id: UUID
    limit: int | None


Move: TypeAlias = Propose | Apply | Withdraw | RaiseLimit


def plan_moves(situation: PerformanceSituation) -> list[Move]:
    """What to do now, in this order."""
    raised = list(_raise_limits(situation))
    withdrawn = list(_withdraw(situation))
    gone = {move.recommendation_id for move in withdrawn}
    remaining = [item for item in situation.open_items if item.id not in gone]
    guard = _AutomaticGuard(situation, remaining)
    moves: list[Move] = [*raised, *withdrawn]
    waiting = [item for item in remaining if not item.is_applying]
    automatic = [item for item in waiting if situation.mode(item.kind) is ApplyMode.AUTOMATIC]
    moves.extend(Apply(item.id) for item in automatic if guard.admit(*item.key))
    keys = {item.key for item in remaining}
    restarting: set[UUID | None] = {subject for kind, subject in keys if kind is Kind.AGENT_RESTART}
    for proposal in find_proposals(situation.runners, situation.agents):
        if proposal.key in keys or not _is_welcome(situation, proposal):
            continue
        if proposal.kind is Kind.AGENT_RESTART:
            restarting.add(proposal.runner_id)
        elif proposal.runner_id in restarting:
            continue  # what is restarted needs nothing else
        is_automatic = situation.mode(proposal.kind) is ApplyMode.AUTOMATIC
        moves.append(Propose(proposal, applies=is_automatic and guard.admit(*proposal.key)))
    return moves


def cool_down(kind: Kind, times: int) -> timedelta:
    """How long nothing of a kind is proposed where it was done `times` lately."""
    shortest = COOL_DOWN[kind]
    return min(shortest * (1 << min(10, max(0, times - 1))), max(shortest, LONGEST_COOL_DOWN))


def _is_welcome(situation: PerformanceSituation, proposal: Proposal) -> bool:
    if situation.mode(proposal.kind) is ApplyMode.OFF:
        return False
    host = proposal.subject.rsplit(":", 1)[0]
    past = [
        item
        for item in situation.past
        if item.kind is proposal.kind
        and (item.subject_id == proposal.key[1] or (item.kind is Kind.AGENT_RESTART and item.host == host))
    ]
    if any(item.is_dismissed and situation.now - item.at < MEMORY for item in past):
        return False
    applied = [item.at for item in past if not item.is_dismissed]
    return not applied or situation.now - max(applied) >= cool_down(proposal.kind, len(applied))


def _withdraw(situation: PerformanceSituation) -> Iterator[Withdraw]:
    runners = {runner.id: runner for runner in situation.runners}
    agents = {agent.id: agent for agent in situation.agents}
    for item in situation.open_items:
        if item.is_applying:
            continue
        runner = runners.get(item.subject_id)
        if situation.mode(item.kind) is ApplyMode.OFF:
            yield Withdraw(item.id, "Recommendations of this kind are switched off.")
        elif item.kind is Kind.CONTEXT_OPTIMIZATION:
            if is_context_over(agents.get(item.subject_id)):
                yield Withdraw(item.id, "Its calls leave room again.")
        elif runner is None:
            yield Withdraw(item.id, "The runner is gone, or takes no more turns.")
        elif has_ended(item.reason, runner, [other for other in situation.runners if other.id != runner.id]):
            yield Withdraw(item.id, "It was over by itself.")


def _raise_limits(situation: PerformanceSituation) -> Iterator[RaiseLimit]:
    runners = {runner.id: runner for runner in situation.runners}
    for limit in situation.limits:
        runner = runners.get(limit.runner_id)
        if runner is None:
            continue
        peers = [other for other in situation.runners if other.id != runner.id]
        if not peers:  # somebody has to take all turns
            yield RaiseLimit(limit.recommendation_id, runner.id, None)
        elif situation.now - limit.changed_at >= LIMIT_PAUSE and is_like_others(runner, peers):
            raised = 2 * limit.limit
            yield RaiseLimit(limit.recommendation_id, runner.id, raised if raised < runner.capacity else None)


class _AutomaticGuard:
    """What may be done at the same time without a person: enough runners always take turns."""

    def __init__(self, situation: PerformanceSituation, remaining: Sequence[OpenRecommendation]) -> None:
        self._situation = situation
        self._runners = {runner.id: runner for runner in situation.runners}
        applying = [item for item in remaining if item.is_applying]
        self._busy = {item.subject_id for item in applying}
        self._cleanups = sum(item.kind is Kind.MEMORY_CLEANUP for item in applying)
        self._restarts = sum(item.kind is Kind.AGENT_RESTART for item in applying)
        self._limited = {limit.runner_id for limit in situation.limits} | {
            item.subject_id for item in applying if item.kind is Kind.LOAD_REBALANCING
        }

    def admit(self, kind: Kind, subject_id: UUID | None) -> bool:
        """Whether it may be done now; if so, it counts from now on."""
        runner = self._runners.get(subject_id) if subject_id is not None else None
        if runner is None or runner.id in self._busy or not self._admits(kind, runner):
            return False
        self._busy.add(runner.id)
        self._restarts += kind is Kind.AGENT_RESTART
        self._cleanups += kind is Kind.MEMORY_CLEANUP
        if kind is Kind.LOAD_REBALANCING:
            self._limited.add(runner.id)
        return True

    def _admits(self, kind: Kind, runner: RunnerSeries) -> bool:
        match kind:
            case Kind.AGENT_RESTART:
                since = self._situation.now - RESTART_PAUSE
                is_early = any(
                    item.kind is Kind.AGENT_RESTART and not item.is_dismissed and item.at > since
                    for item in self._situation.past
                )
                # The last one is not restarted at once, but when it has nothing to do.
                return not self._restarts and not is_early and (len(self._runners) > 1 or not runner.running)
            case Kind.LOAD_REBALANCING:
                return 2 * (len(self._limited) + 1) <= len(self._runners)
            case Kind.MEMORY_CLEANUP:
                return not self._cleanups
        return False  # what an agent sends is a person's decision
