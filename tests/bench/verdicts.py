"""The verdict of deployments, simulated: how often equal releases are withdrawn, and how soon bad ones are.

`python -m tests.bench.verdicts [--draws 1000]` prints a table, and exits with 1 when a line is not as it should be.

Each draw is one step of a plan at one turn of the candidate a second: users arrive at random, ask some turns, and meet
failures, slow and dear answers, people and bad ratings with chances of their own (beta distributed, so that the turns
of one user correlate). The verdict is asked each 15 seconds, with its part of the false-alarm rate for a whole
deployment.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.domain.deployment_verdict import (
    FALSE_ALARM_RATE,
    ArmFigures,
    ArmMeasurements,
    DeploymentDecision,
    DeploymentMetric,
    MinuteFigures,
    judge,
)

LOOK_SECONDS = 15
STEP_SECONDS = 600
PHASES = 3
METRICS = list(DeploymentMetric)
# Of a good release; slow and dear are what their thresholds make them.
EQUAL: Mapping[DeploymentMetric, float] = {
    DeploymentMetric.FAILED: 0.02,
    DeploymentMetric.SLOW: 0.05,
    DeploymentMetric.DEAR: 0.10,
    DeploymentMetric.HANDED_OFF: 0.02,
    DeploymentMetric.RATED_DOWN: 0.01,
}
# The standard deviation of the logarithm of times and of costs: two thirds are within 0.6 and 1.65 times the median.
SPREAD = 0.5


def _beyond(percentile_score: float, factor: float) -> float:
    """How many turns are above a percentile (as a standard score) of the baseline when all take `factor` times as much,
    lognormally."""
    score = percentile_score - math.log(factor) / SPREAD
    return 0.5 * (1 - math.erf(score / math.sqrt(2)))


@dataclass(frozen=True)
class Scenario:
    """`worse` are the chances of the candidate where they differ. `outage` is the share of all turns of both arms that
    fail in one minute; `bursts`: a user's turns come at once, and failures of both arms in short storms."""

    name: str
    share: float
    correlation: float = 0.0
    turns_per_user: float = 1.5
    worse: Mapping[DeploymentMetric, float] = field(default_factory=dict)
    outage: float = 0.0
    bursts: bool = False

    @property
    def is_bad(self) -> bool:
        return bool(self.worse)


@dataclass
class Turns:
    """The turns of one draw, by their ends: user, arm, and whether each metric holds."""

    at: NDArray[np.float64]
    user: NDArray[np.int64]
    candidate: NDArray[np.bool_]
    bad: NDArray[np.bool_]  # metric x turn


def draw_turns(scenario: Scenario, random: np.random.Generator) -> Turns:
    """A step with one turn of the candidate a second: each turn is a new user's, or of somebody who was here."""
    size = random.poisson(STEP_SECONDS / scenario.share)
    at = np.sort(random.random(size) * STEP_SECONDS)
    is_new = random.random(size) < 1 / scenario.turns_per_user
    is_new[:1] = True
    users = int(is_new.sum())
    arm = random.random(users) < scenario.share
    if scenario.bursts:
        user = np.cumsum(is_new) - 1  # all turns of a user come one after the other
    else:
        newest = np.cumsum(is_new) - 1
        window = max(10, int(60 / scenario.share / scenario.turns_per_user))
        user = np.where(is_new, newest, np.maximum(0, newest - (random.random(size) * window).astype(int)))
    candidate = arm[user]
    bad = np.zeros((len(METRICS), user.size), dtype=bool)
    for row, metric in enumerate(METRICS):
        chance = np.where(arm, scenario.worse.get(metric, EQUAL[metric]), EQUAL[metric])
        if scenario.correlation:
            scale = 1 / scenario.correlation - 1
            chance = random.beta(chance * scale, (1 - chance) * scale)
        each = chance[user]
        if metric is DeploymentMetric.FAILED:
            if scenario.outage:
                each = np.where((at > 300) & (at < 360), scenario.outage, each)
            if scenario.bursts:
                each = np.where((at % 90) < 8, 0.5, each)
        bad[row] = random.random(user.size) < each
    return Turns(at, user, candidate, bad)


def seconds_until_withdrawn(scenario: Scenario, random: np.random.Generator) -> tuple[float, DeploymentMetric] | None:
    """When the candidate of one draw is withdrawn, and for what; None if it is not."""
    turns = draw_turns(scenario, random)
    first_turn = _first(turns.user)
    first_bad = [_first_bad(turns.user, row) for row in turns.bad]
    minute = (turns.at // 60).astype(int)
    for look in range(LOOK_SECONDS, STEP_SECONDS + 1, LOOK_SECONDS):
        end = int(np.searchsorted(turns.at, look))
        arms = [_arm(turns, first_turn, first_bad, end, is_candidate) for is_candidate in (True, False)]
        measurements = ArmMeasurements(
            share=scenario.share,
            phases=PHASES,
            seconds_left=STEP_SECONDS - look,
            candidate=arms[0],
            stable=arms[1],
            minutes=_minutes(turns, minute, first_turn, end),
        )
        verdict = judge(measurements)
        if verdict.decision is DeploymentDecision.WITHDRAW:
            assert verdict.metric is not None
            return float(look), verdict.metric
    return None


def _first(user: NDArray[np.int64]) -> NDArray[np.bool_]:
    result = np.zeros(user.size, dtype=bool)
    result[np.unique(user, return_index=True)[1]] = True
    return result


def _first_bad(user: NDArray[np.int64], bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    result = np.zeros(user.size, dtype=bool)
    places = np.flatnonzero(bad)
    result[places[np.unique(user[places], return_index=True)[1]]] = True
    return result


def _arm(
    turns: Turns, first_turn: NDArray[np.bool_], first_bad: list[NDArray[np.bool_]], end: int, is_candidate: bool
) -> ArmFigures:
    arm = turns.candidate[:end] == is_candidate
    return ArmFigures(
        users=int((first_turn[:end] & arm).sum()),
        turns=int(arm.sum()),
        bad_users={metric: int((first_bad[row][:end] & arm).sum()) for row, metric in enumerate(METRICS)},
    )


def _minutes(turns: Turns, minute: NDArray[np.int64], first_turn: NDArray[np.bool_], end: int) -> list[MinuteFigures]:
    size = STEP_SECONDS // 60 + 1
    stable = ~turns.candidate[:end]
    first = turns.candidate[:end] & first_turn[:end]

    def count(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(minute[:end][mask], minlength=size)

    stable_turns, candidate_first = count(stable), count(first)
    stable_bad = [count(stable & turns.bad[row, :end]) for row in range(len(METRICS))]
    first_bad = [count(first & turns.bad[row, :end]) for row in range(len(METRICS))]
    return [
        MinuteFigures(
            int(stable_turns[number]),
            {metric: int(stable_bad[row][number]) for row, metric in enumerate(METRICS)},
            int(candidate_first[number]),
            {metric: int(first_bad[row][number]) for row, metric in enumerate(METRICS)},
        )
        for number in range(size)
        if stable_turns[number] or candidate_first[number]
    ]


# 1.645 and 1.282 are the standard scores of the 95th and the 90th percentile.
BAD: Mapping[str, Mapping[DeploymentMetric, float]] = {
    "30 % failing": {DeploymentMetric.FAILED: 0.3},
    "3 times as slow": {DeploymentMetric.SLOW: _beyond(1.645, 3)},
    "2 times as dear": {DeploymentMetric.DEAR: _beyond(1.282, 2)},
    "30 % call for a person": {DeploymentMetric.HANDED_OFF: 0.3},
}
SHARES = (0.05, 0.25, 0.95)


def equal_scenarios() -> list[Scenario]:
    """Equal releases, in what could fool a verdict."""
    scenarios = []
    for share in SHARES:
        scenarios += [Scenario(f"equal, correlation {one}", share, one) for one in (0.0, 0.1, 0.3)]
        scenarios += [
            Scenario("equal, correlation 0.3, 30 turns per user", share, 0.3, turns_per_user=30),
            Scenario("equal, bursts", share, 0.1, bursts=True),
            Scenario("equal, all fail for a minute", share, 0.1, outage=1.0),
            Scenario("equal, 40 % fail for a minute", share, 0.1, outage=0.4),
        ]
    return scenarios


def bad_scenarios() -> list[Scenario]:
    """Bad releases."""
    return [
        Scenario(f"{name}, correlation {correlation}", share, correlation, worse=worse)
        for share in SHARES
        for name, worse in BAD.items()
        for correlation in (0.0, 0.3)
    ] + [Scenario(f"{name}, 3 turns per user", 0.05, 0.1, 3.0, worse=worse) for name, worse in BAD.items()]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=1000, help="of each scenario with equal releases")
    parser.add_argument("--bad-draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()
    fine = True
    print(f"{'scenario':48} share  withdrawn        seconds: median  worst")
    for scenario in [*equal_scenarios(), *bad_scenarios()]:
        random = np.random.default_rng(options.seed)
        draws = options.bad_draws if scenario.is_bad else options.draws
        ends = [end[0] for _ in range(draws) if (end := seconds_until_withdrawn(scenario, random)) is not None]
        times = f"{np.median(ends):10.0f} {max(ends):6.0f}" if ends else ""
        print(f"{scenario.name:48} {scenario.share:5.0%}  {len(ends):5} of {draws:5}  {times}", flush=True)
        if scenario.is_bad and scenario.share < 0.9 and scenario.turns_per_user < 2:
            fine &= len(ends) == draws and max(ends) <= 120
        elif not scenario.is_bad:
            # One of `PHASES` comparisons of a deployment.
            fine &= len(ends) <= draws * FALSE_ALARM_RATE
    print("as it should be" if fine else "NOT as it should be")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
