"""The verdict on the candidate of a deployment, from what both arms have done since this step of its plan began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Metric(StrEnum):
    """What a turn can be, yes or no. `slow`: its first word came later than the 95th percentile of the baseline before
    the deployment; `dear`: it cost more than the 90th."""

    FAILED = "failed"
    SLOW = "slow"
    DEAR = "dear"
    HANDED_OFF = "handed_off"
    RATED_DOWN = "rated_down"


class Decision(StrEnum):
    """`continue`: wait until the step's time is over. `hold`: too little traffic to tell, or the evidence leans against
    the candidate: never promoted so. `promote`: the step is over and nothing speaks against it."""

    CONTINUE = "continue"
    HOLD = "hold"
    PROMOTE = "promote"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What the users of one arm did in sessions that they opened since the step began: how many `users` had a turn that
    ended, how many `turns`, and by metric the `bad_users` with at least one such turn, and the `bad_turns`."""

    users: int = 0
    turns: int = 0
    bad_users: Mapping[Metric, int] = field(default_factory=dict)
    bad_turns: Mapping[Metric, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MinuteFigures:
    """One minute of one step, for the absolute limits. `stable_turns` and `stable_bad` are the baseline's turns that
    ended in it and those of them that were bad, by metric; `candidate_first` the users of the candidate whose first
    turn ended in it, and `candidate_first_bad` those of them for whom that turn was bad."""

    stable_turns: int = 0
    stable_bad: Mapping[Metric, int] = field(default_factory=dict)
    candidate_first: int = 0
    candidate_first_bad: Mapping[Metric, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurements:
    """`share` is the part of the users that gets the candidate, between 0 and 1. `first_bad` has, by metric and in the
    order of time, an entry for each user at the first turn that was bad: True if the user is the candidate's. `minutes`
    are all of the step, oldest first. `phases` is how many comparisons the whole deployment makes, `seconds_left` the
    time until the step may end."""

    share: float
    phases: int
    seconds_left: float
    candidate: ArmFigures
    stable: ArmFigures
    first_bad: Mapping[Metric, Sequence[bool]] = field(default_factory=dict)
    minutes: Sequence[MinuteFigures] = ()
    minimum_turns: int = 50
    minimum_users: int = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """`sentence` says why in plain words with the numbers; `metric` is the one that withdraws the candidate or leans
    against it. `evidence` is, by metric, how many times likelier the observations are if the candidate is worse."""

    decision: Decision
    sentence: str
    metric: Metric | None = None
    evidence: Mapping[Metric, float] = field(default_factory=dict)


# The chance that a deployment of an equal release is ever withdrawn: all metrics, all steps, all looks together.
FALSE_ALARM_RATE: Final = 0.01


def judge(measurements: Measurements) -> Verdict:
    """The verdict, from these figures alone."""
    raise NotImplementedError
