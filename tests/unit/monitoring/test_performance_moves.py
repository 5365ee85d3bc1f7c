"""The performance monitor over time: what it proposes, does, takes back, and that it never flaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from monitoring.models import ApplyMode
from monitoring.models import RecommendationKind as Kind
from monitoring.performance.moves import (
    MEMORY,
    Apply,
    ClaimLimit,
    OpenRecommendation,
    PastRecommendation,
    PerformanceSituation,
    Propose,
    RaiseLimit,
    Withdraw,
    cool_down,
    plan_moves,
)
from monitoring.performance.rules import MEBIBYTE, RuleName
from monitoring.performance.series import AgentContext, RunnerPoint, RunnerSeries

START = datetime(2026, 1, 1, tzinfo=UTC)
PASS = timedelta(seconds=30)
LIMIT_BYTES = 1000 * MEBIBYTE
ALL_AUTOMATIC = dict.fromkeys(Kind, ApplyMode.AUTOMATIC)


@dataclass
class Machine:
    """A runner to play with: what it does in each pass is a function of itself."""

    id: UUID
    host: str
    memory: float = 30.0
    turns_per_pass: int = 5
    seconds: float = 2.0
    error_share: float = 0.0
    running: int = 2
    status: str = "running"
    claim_limit: int | None = None
    points: list[RunnerPoint] = field(default_factory=list)
    requests: int = 0
    errors: float = 0.0
    total: float = 0.0

    def sample(self, at: datetime) -> None:
        self.requests += self.turns_per_pass
        self.errors += self.turns_per_pass * self.error_share
        self.total += self.turns_per_pass * self.seconds
        memory = int(self.memory / 100 * LIMIT_BYTES)
        self.points.append(
            RunnerPoint(
                at, self.status, self.requests, round(self.errors), self.total, memory, LIMIT_BYTES, self.running
            )
        )

    def series(self) -> RunnerSeries:
        return RunnerSeries(self.id, self.host, 1, 8, self.claim_limit, self.running, self.points[-30:])


Behaviour = Callable[["World"], None]


class World:
    """Runners, and a monitor that looks at them every 30 seconds and does what it plans."""

    def __init__(self, runners: int = 3, modes: dict[Kind, ApplyMode] | None = None) -> None:
        self.now = START
        self.machines = [Machine(UUID(int=number), f"host-{number}") for number in range(1, runners + 1)]
        self.modes = ALL_AUTOMATIC if modes is None else modes
        self.open_items: list[OpenRecommendation] = []
        self.past: list[PastRecommendation] = []
        self.limits: list[ClaimLimit] = []
        self.agents: list[AgentContext] = []
        self.done: list[tuple[datetime, Kind, str]] = []
        self.proposed: list[Propose] = []
        self.withdrawn: list[str] = []
        self._number = 100

    def machine(self, number: int = 1) -> Machine:
        return next(machine for machine in self.machines if machine.host == f"host-{number}")

    def run(self, minutes: float, behave: Behaviour = lambda _: None) -> None:
        for _ in range(int(minutes * 2)):
            self.now += PASS
            behave(self)
            for machine in self.machines:
                machine.sample(self.now)
            self.look()

    def situation(self) -> PerformanceSituation:
        return PerformanceSituation(
            self.now,
            [machine.series() for machine in self.machines],
            self.agents,
            self.open_items,
            [item for item in self.past if self.now - item.at < MEMORY],
            self.limits,
            self.modes,
        )

    def look(self) -> None:
        for move in plan_moves(self.situation()):
            match move:
                case Propose(proposal, applies):
                    self.proposed.append(move)
                    subject = proposal.runner_id or proposal.agent_id
                    assert subject is not None
                    item = OpenRecommendation(self._id(), proposal.kind, proposal.reason, subject)
                    assert item.key not in {other.key for other in self.open_items}
                    self.open_items.append(item)
                    if applies:
                        self._apply(item)
                case Apply(recommendation_id):
                    self._apply(next(item for item in self.open_items if item.id == recommendation_id))
                case Withdraw(recommendation_id, reason):
                    self.withdrawn.append(reason)
                    self.open_items = [item for item in self.open_items if item.id != recommendation_id]
                case RaiseLimit(recommendation_id, runner_id, limit):
                    machine = next(machine for machine in self.machines if machine.id == runner_id)
                    machine.claim_limit = limit
                    self.limits = [found for found in self.limits if found.recommendation_id != recommendation_id]
                    if limit is not None:
                        self.limits.append(ClaimLimit(recommendation_id, runner_id, limit, self.now))

    def _apply(self, item: OpenRecommendation) -> None:
        machine = next(machine for machine in self.machines if machine.id == item.subject_id)
        self.open_items.remove(item)
        self.past.append(PastRecommendation(item.kind, machine.id, machine.host, self.now))
        self.done.append((self.now, item.kind, machine.host))
        match item.kind:
            case Kind.MEMORY_CLEANUP:
                machine.memory *= 0.95
            case Kind.LOAD_REBALANCING:
                machine.claim_limit = 4
                self.limits.append(ClaimLimit(item.id, machine.id, 4, self.now))
            case Kind.AGENT_RESTART:
                self.machines.remove(machine)
                self.machines.append(Machine(self._id(), machine.host))

    def _id(self) -> UUID:
        self._number += 1
        return UUID(int=self._number)

    def counts(self) -> Counter[Kind]:
        return Counter(kind for _, kind, _ in self.done)


def test_runners_that_are_well_are_left_alone_for_a_day() -> None:
    world = World()

    def breathe(world: World) -> None:
        for number, machine in enumerate(world.machines):
            step = len(machine.points)
            machine.memory = 50 + 9 * ((step + number) % 3)
            machine.seconds = 2.0 + 0.5 * ((step + number) % 4)
            machine.running = (step + 3 * number) % 8

    world.run(60 * 24, breathe)
    assert (world.proposed, world.done, world.withdrawn) == ([], [], [])


def test_memory_above_its_threshold_is_cleaned_up_and_not_every_minute_where_that_does_not_help() -> None:
    world = World()

    def full(world: World) -> None:
        world.machine().memory = 78.0

    world.run(120, full)
    [evidence] = world.proposed[0].proposal.evidence
    assert (evidence.figure, evidence.threshold, evidence.unit) == ("memory", 70.0, "%")
    assert {kind for _, kind, _ in world.done} == {Kind.MEMORY_CLEANUP}
    assert 2 <= len(world.done) <= 4, "each pause is twice as long"
    gaps = [after - before for (before, *_), (after, *_) in pairwise(world.done)]
    assert gaps == sorted(gaps)


def test_a_value_that_swings_around_a_threshold_moves_nothing() -> None:
    world = World()

    def swing(world: World) -> None:
        world.machine().memory = 69.0 if len(world.machine().points) % 3 == 0 else 71.0

    world.run(60, swing)
    assert world.proposed == []


def test_what_is_open_stays_between_the_thresholds_and_ends_below_the_lower_one() -> None:
    world = World(modes={})
    world.machine().memory = 75.0
    world.run(2)
    assert [item.kind for item in world.open_items] == [Kind.MEMORY_CLEANUP]
    world.machine().memory = 65.0
    world.run(30)
    assert len(world.open_items) == 1
    assert len(world.proposed) == 1
    world.machine().memory = 55.0
    world.run(2)
    assert (world.open_items, world.withdrawn) == ([], ["It was over by itself."])


def test_memory_that_grows_while_nobody_asks_is_found_before_it_is_full() -> None:
    world = World()
    for machine in world.machines:
        machine.turns_per_pass = machine.running = 0

    def leak(world: World) -> None:
        world.machine().memory += 1.0

    world.run(7, leak)
    assert world.proposed[0].proposal.reason is RuleName.MEMORY_GROWS_IDLE
    assert [host for _, _, host in world.done] == ["host-1"]
    busy = World()
    busy.run(7, leak)
    assert busy.proposed == [], "turns need memory"


def test_a_leak_ends_in_restarts_of_one_runner_at_a_time_with_longer_and_longer_pauses() -> None:
    world = World()

    def leak(world: World) -> None:
        for machine in world.machines:
            machine.memory = min(99.0, machine.memory + 0.9)

    world.run(60 * 6, leak)
    restarts = [(at, host) for at, kind, host in world.done if kind is Kind.AGENT_RESTART]
    assert {host for _, host in restarts} == {"host-1", "host-2", "host-3"}
    gaps = [after - before for (before, _), (after, _) in pairwise(restarts)]
    assert min(gaps) >= timedelta(minutes=5)
    per_host = Counter(host for _, host in restarts)
    assert max(per_host.values()) <= 6, "in six hours, where each runner is full again after an hour"


def test_a_host_that_breaks_every_runner_is_not_restarted_for_ever() -> None:
    world = World()

    def break_host(world: World) -> None:
        world.machine().error_share = 1.0

    world.run(60 * 6, break_host)
    assert 3 <= world.counts()[Kind.AGENT_RESTART] <= 6
    assert world.proposed[0].proposal.reason is RuleName.ERROR_RATE


def test_an_outage_of_a_provider_restarts_nobody() -> None:
    world = World()

    def outage(world: World) -> None:
        for machine in world.machines:
            machine.error_share = 1.0 if world.now - START > timedelta(minutes=10) else 0.0

    world.run(60, outage)
    assert world.done == []
    alone = World(runners=1)
    alone.machine().error_share = 0.8
    alone.run(60)
    assert alone.proposed == []


def test_a_blocked_event_loop_is_a_reason_to_restart() -> None:
    world = World()
    world.machine().status = "blocked"
    world.run(2)
    assert [(kind, host) for _, kind, host in world.done] == [(Kind.AGENT_RESTART, "host-1")]


def test_the_last_runner_is_restarted_only_when_it_has_nothing_to_do() -> None:
    world = World(runners=1)
    world.machine().memory = 90.0
    world.run(10)
    assert world.done == []
    assert [item.kind for item in world.open_items] == [Kind.AGENT_RESTART]
    world.machine().running = 0
    world.run(0.5)
    assert [kind for _, kind, _ in world.done] == [Kind.AGENT_RESTART]


def test_two_runners_that_are_both_full_are_restarted_one_after_the_other() -> None:
    world = World(runners=2)
    for machine in world.machines:
        machine.memory = 90.0
    world.run(4.5)
    assert len(world.done) == 1
    assert len(world.open_items) == 1
    world.run(5)
    assert len(world.done) == 2


def test_a_slow_runner_gets_half_of_its_turns_and_all_of_them_again_when_it_is_as_fast_as_others() -> None:
    world = World()
    world.machine().seconds = 9.0
    world.run(12)
    assert [(kind, host) for _, kind, host in world.done] == [(Kind.LOAD_REBALANCING, "host-1")]
    assert world.proposed[0].proposal.action == {"claim_limit": 4}
    assert world.machine().claim_limit == 4
    world.run(30)
    assert world.machine().claim_limit == 4, "it is slow still"
    world.machine().seconds = 2.0
    world.run(11)
    assert world.machine().claim_limit is None
    assert len(world.done) == 1


def test_a_runner_that_is_slow_with_all_its_turns_and_fast_with_half_does_not_flap() -> None:
    world = World()

    def overloaded(world: World) -> None:
        world.machine().seconds = 9.0 if world.machine().claim_limit is None else 2.0

    world.run(60 * 6, overloaded)
    assert 3 <= world.counts()[Kind.LOAD_REBALANCING] <= 8


def test_a_full_runner_among_empty_ones_is_relieved_and_a_limit_is_lifted_when_it_is_the_last() -> None:
    world = World()
    for machine in world.machines:
        machine.running = 1
    world.machine().running = 8
    world.run(4)
    assert world.proposed[0].proposal.reason is RuleName.FULLER
    assert world.machine().claim_limit == 4
    world.machines = [world.machine()]
    world.run(0.5)
    assert world.machine().claim_limit is None


def test_never_more_than_half_of_the_runners_are_limited_without_a_person() -> None:
    world = World(runners=4)
    world.machine(3).seconds = 90.0
    world.run(4)
    limits = [ClaimLimit(UUID(int=number), UUID(int=number), 4, world.now) for number in (1, 2)]
    item = OpenRecommendation(UUID(int=9), Kind.LOAD_REBALANCING, RuleName.SLOWER, UUID(int=3))
    situation = replace(world.situation(), open_items=[item], past=[])
    assert Apply(item.id) not in plan_moves(replace(situation, limits=limits))
    assert Apply(item.id) in plan_moves(replace(situation, limits=limits[:1]))


@pytest.mark.parametrize("mode", [ApplyMode.SUGGEST, ApplyMode.OFF])
def test_without_leave_nothing_is_done(mode: ApplyMode) -> None:
    world = World(modes=dict.fromkeys(Kind, mode))
    world.machine(1).memory = 90.0
    world.machine(2).seconds = 30.0
    world.agents = [AgentContext(UUID(int=50), "demo", 40, 88.0)]
    world.run(60)
    assert world.done == []
    expected = [Kind.AGENT_RESTART, Kind.CONTEXT_OPTIMIZATION, Kind.LOAD_REBALANCING]
    assert sorted(item.kind for item in world.open_items) == ([] if mode is ApplyMode.OFF else sorted(expected))
    world.modes = dict.fromkeys(Kind, ApplyMode.OFF)
    world.run(0.5)
    assert world.open_items == []


def test_what_an_agent_sends_is_never_changed_without_a_person() -> None:
    world = World()
    world.agents = [AgentContext(UUID(int=50), "demo", 40, 88.0), AgentContext(UUID(int=51), "rare", 3, 99.0)]
    world.run(60)
    assert world.done == []
    assert [item.subject_id for item in world.open_items] == [UUID(int=50)]
    world.agents = [AgentContext(UUID(int=50), "demo", 40, 75.0)]
    world.run(1)
    assert len(world.open_items) == 1
    world.agents = []
    world.run(1)
    assert world.open_items == []


def test_a_person_s_no_holds_for_hours() -> None:
    world = World(modes={})
    world.machine().memory = 75.0
    world.run(2)
    [item] = world.open_items
    world.open_items = []
    world.past = [PastRecommendation(item.kind, item.subject_id, "host-1", world.now, is_dismissed=True)]
    world.run(5 * 60)
    assert world.open_items == []
    world.run(65)
    assert len(world.open_items) == 1


def test_pauses_double_up_to_two_hours() -> None:
    assert [cool_down(Kind.MEMORY_CLEANUP, times).total_seconds() / 60 for times in range(1, 6)] == [
        15,
        30,
        60,
        120,
        120,
    ]
    assert cool_down(Kind.CONTEXT_OPTIMIZATION, 3) == timedelta(hours=6)


def test_a_runner_that_does_something_already_is_not_bothered() -> None:
    world = World()
    world.machine().memory = 90.0
    world.run(1)
    situation = world.situation()
    applying = OpenRecommendation(UUID(int=9), Kind.MEMORY_CLEANUP, RuleName.MEMORY_HIGH, UUID(int=1), is_applying=True)
    world.machine().sample(world.now)
    moves = plan_moves(replace(situation, open_items=[applying], runners=series(world)))
    assert [(move.proposal.kind, move.applies) for move in moves if isinstance(move, Propose)] == [
        (Kind.AGENT_RESTART, False)
    ]


def series(world: World) -> Sequence[RunnerSeries]:
    return [machine.series() for machine in world.machines]
