"""The rules of the performance monitor: what it finds in samples, and when that is over. Pure.

Each rule has a threshold that must hold for some samples in a row, and a lower one below which what it found is over:
between the two nothing changes, so a value that goes up and down around one of them moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

from monitoring.models import RecommendationKind as Kind
from monitoring.performance.series import BLOCKED, AgentContext, RunnerSeries, median_seconds

# Samples in a row for which a threshold must hold; and those of a window.
HOLD: Final = 3
WINDOW: Final = 10
MEBIBYTE: Final = 1024 * 1024

MEMORY_HIGH, MEMORY_OK = 70.0, 60.0
MEMORY_CRITICAL, MEMORY_UNCRITICAL = 85.0, 75.0
# A runner that does nothing should not grow by this within a window.
IDLE_GROWTH_PERCENT, IDLE_GROWTH_BYTES = 10.0, 64 * MEBIBYTE
# A share of failures is one of so many turns at threshold; of a runner alone it may be its provider's fault.
MIN_TURNS: Final = 20
ERRORS_HIGH, ERRORS_OK, ERRORS_HIGH_ALONE = 50.0, 25.0, 90.0
# Means are compared for so many turns at threshold.
MIN_COMPARED: Final = 10
SLOWER, SLOWER_OK, SLOWER_SECONDS = 2.0, 1.3, 1.0
FULL_PERCENT, ROOM_PERCENT = 90.0, 50.0
CONTEXT_HIGH, CONTEXT_OK, MIN_CALLS = 80.0, 70.0, 10


class RuleName(StrEnum):
    """Which rule has found something."""

    MEMORY_HIGH = "memory_high"
    MEMORY_GROWS_IDLE = "memory_grows_idle"
    MEMORY_CRITICAL = "memory_critical"
    ERROR_RATE = "error_rate"
    BLOCKED = "blocked"
    SLOWER = "slower"
    FULLER = "fuller"
    CONTEXT_FULL = "context_full"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A figure and what it is held against. `unit` is "%", "s", "MiB" or ""."""

    figure: str
    value: float
    threshold: float
    unit: str = ""

    def as_json(self) -> dict[str, Any]:
        """For the row."""
        return {
            "figure": self.figure,
            "value": round(self.value, 2),
            "threshold": round(self.threshold, 2),
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something that should be done about a runner, or an agent. `subject` names it to people."""

    kind: Kind
    reason: RuleName
    subject: str
    evidence: Sequence[Evidence]
    runner_id: UUID | None = None
    agent_id: UUID | None = None
    action: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Kind, UUID | None]:
        """What there is one of at a time."""
        return self.kind, self.runner_id or self.agent_id


def find_proposals(runners: Sequence[RunnerSeries], agents: Sequence[AgentContext]) -> Iterator[Proposal]:
    """What the samples give reason to do now."""
    for runner in runners:
        peers = [other for other in runners if other.id != runner.id]
        yield from _restart(runner, peers)
        yield from _cleanup(runner)
        yield from _rebalance(runner, peers)
    for agent in agents:
        if agent.calls >= MIN_CALLS and agent.mean_percent > CONTEXT_HIGH:
            used = Evidence("mean use of the context window", agent.mean_percent, CONTEXT_HIGH, "%")
            calls = Evidence("calls of models in the last hour", agent.calls, MIN_CALLS)
            yield Proposal(
                Kind.CONTEXT_OPTIMIZATION, RuleName.CONTEXT_FULL, agent.name, (used, calls), agent_id=agent.id
            )


def has_ended(reason: str, runner: RunnerSeries, peers: Sequence[RunnerSeries]) -> bool:
    """Whether what a rule found about a runner is over: under the lower threshold for some samples in a row."""
    newest = runner.newest(HOLD)
    memory = [point.memory_percent or 0 for point in newest]
    over = {
        RuleName.MEMORY_HIGH: lambda: max(memory) < MEMORY_OK,
        RuleName.MEMORY_CRITICAL: lambda: max(memory) < MEMORY_UNCRITICAL,
        RuleName.MEMORY_GROWS_IDLE: lambda: _idle_growth(runner) is None,
        RuleName.ERROR_RATE: lambda: (runner.window(WINDOW).error_percent or 0) < ERRORS_OK,
        RuleName.BLOCKED: lambda: all(point.status != BLOCKED for point in newest),
        RuleName.SLOWER: lambda: is_like_others(runner, peers),
        RuleName.FULLER: lambda: is_like_others(runner, peers),
    }
    return bool(newest) and over[RuleName(reason)]()


def is_like_others(runner: RunnerSeries, peers: Sequence[RunnerSeries]) -> bool:
    """Whether a runner is not slower than the others now, nor has less room than they have."""
    if not peers:
        return True
    own = runner.window(WINDOW).mean_seconds
    usual = median_seconds([other.window(WINDOW) for other in peers])
    is_slow = own is not None and usual is not None and own > SLOWER_OK * usual and own - usual > SLOWER_SECONDS / 2
    return not is_slow and _fullness(runner, peers) is None


def is_context_over(agent: AgentContext | None) -> bool:
    """Whether the calls of an agent leave room again."""
    return agent is None or agent.mean_percent < CONTEXT_OK


def _restart(runner: RunnerSeries, peers: Sequence[RunnerSeries]) -> Iterator[Proposal]:
    """The first reason to start a runner anew."""
    newest = runner.newest(HOLD)
    memory = [point.memory_percent or 0 for point in newest]
    reason: RuleName | None = None
    evidence: tuple[Evidence, ...] = ()
    if newest and min(memory) > MEMORY_CRITICAL:
        reason, evidence = RuleName.MEMORY_CRITICAL, (Evidence("memory", memory[-1], MEMORY_CRITICAL, "%"),)
    elif newest and all(point.status == BLOCKED for point in newest):
        reason, evidence = RuleName.BLOCKED, (Evidence("samples in a row with a blocked event loop", HOLD, HOLD),)
    elif evidence := tuple(_errors(runner, peers)):
        reason = RuleName.ERROR_RATE
    if reason is not None:
        yield Proposal(Kind.AGENT_RESTART, reason, runner.name, evidence, runner_id=runner.id)


def _errors(runner: RunnerSeries, peers: Sequence[RunnerSeries]) -> Iterator[Evidence]:
    """Evidence that turns fail on this runner, and less on others: else it is not the runner."""
    own = runner.window(WINDOW)
    if own.turns < MIN_TURNS or own.error_percent is None:
        return
    shares = [window.error_percent for other in peers if (window := other.window(WINDOW)).turns >= MIN_COMPARED]
    compared = [share for share in shares if share is not None]
    threshold = max(ERRORS_HIGH, 2 * max(compared)) if compared else ERRORS_HIGH_ALONE
    if own.error_percent > threshold:
        yield Evidence("failed turns", own.error_percent, threshold, "%")
        yield Evidence("turns in five minutes", own.turns, MIN_TURNS)
        if compared:
            yield Evidence("failed turns on the other runners, at most", max(compared), ERRORS_HIGH, "%")


def _cleanup(runner: RunnerSeries) -> Iterator[Proposal]:
    memory = [point.memory_percent or 0 for point in runner.newest(HOLD)]
    if memory and min(memory) > MEMORY_HIGH:
        evidence = (Evidence("memory", memory[-1], MEMORY_HIGH, "%"),)
        yield Proposal(Kind.MEMORY_CLEANUP, RuleName.MEMORY_HIGH, runner.name, evidence, runner_id=runner.id)
    elif (growth := _idle_growth(runner)) is not None:
        yield Proposal(Kind.MEMORY_CLEANUP, RuleName.MEMORY_GROWS_IDLE, runner.name, (growth,), runner_id=runner.id)


def _idle_growth(runner: RunnerSeries) -> Evidence | None:
    """How much the memory of a runner grew while it had no turn for a whole window; None if not by much, or not
    steadily."""
    points = runner.newest(WINDOW + 1)
    sizes = [point.memory_bytes for point in points if point.memory_bytes is not None]
    if len(sizes) <= WINDOW or any(point.running for point in points) or runner.window(WINDOW).turns:
        return None
    rises = sum(next_size >= size for size, next_size in pairwise(sizes))
    growth = sizes[-1] - sizes[0]
    threshold = max(IDLE_GROWTH_BYTES, sizes[0] * IDLE_GROWTH_PERCENT / 100)
    if growth < threshold or rises < 0.8 * WINDOW:
        return None
    return Evidence("growth of memory in five minutes without a turn", growth / MEBIBYTE, threshold / MEBIBYTE, "MiB")


def _rebalance(runner: RunnerSeries, peers: Sequence[RunnerSeries]) -> Iterator[Proposal]:
    # One whose claims are limited is waited for; and somebody must take what it does not.
    if not peers or runner.claim_limit is not None or runner.capacity < 2:
        return
    reason, evidence = RuleName.SLOWER, _slowness(runner, peers)
    if evidence is None:
        reason, evidence = RuleName.FULLER, _fullness(runner, peers)
    if evidence is not None:
        limit = max(1, runner.capacity // 2)
        yield Proposal(
            Kind.LOAD_REBALANCING, reason, runner.name, evidence, runner_id=runner.id, action={"claim_limit": limit}
        )


def _slowness(runner: RunnerSeries, peers: Sequence[RunnerSeries]) -> Sequence[Evidence] | None:
    """Evidence that the turns of this runner take longer than those of the others, in each of the newest windows."""
    evidence: list[Evidence] = []
    for skip in range(HOLD):
        own = runner.window(WINDOW, skip=skip)
        windows = [other.window(WINDOW, skip=skip) for other in peers]
        usual = median_seconds([window for window in windows if window.turns >= MIN_COMPARED])
        if own.turns < MIN_COMPARED or own.mean_seconds is None or usual is None:
            return None
        threshold = max(SLOWER * usual, usual + SLOWER_SECONDS)
        if own.mean_seconds < threshold:
            return None
        evidence.append(Evidence("mean time of a turn", own.mean_seconds, threshold, "s"))
        evidence.append(Evidence("the same on the other runners", usual, threshold, "s"))
    return evidence[:2]


def _fullness(runner: RunnerSeries, peers: Sequence[RunnerSeries]) -> Sequence[Evidence] | None:
    """Evidence that this runner is full while the others have room."""
    own = [100 * point.running / runner.limit for point in runner.newest(WINDOW // 2)]
    rest = [100 * point.running / other.limit for other in peers for point in other.newest(WINDOW // 2)]
    if not own or not rest or min(own) < FULL_PERCENT:
        return None
    room = sum(rest) / len(rest)
    if room > ROOM_PERCENT:
        return None
    return (
        Evidence("turns, of those that it may have", own[-1], FULL_PERCENT, "%"),
        Evidence("the same on the other runners", room, ROOM_PERCENT, "%"),
    )
