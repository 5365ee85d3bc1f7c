"""The verdict on the candidate of a deployment, from what both arms have done since this step of its plan began.

**The comparison.** Users are divided by a salted hash. Were both releases equal, nothing that happens to a user would
depend on the arm: the label "candidate" of a user is then independent of all outcomes, and is the candidate's with the
probability `share`. So each user who met a bad turn counts once, at the first of them, and their labels are tosses of a
coin with a known bias, whatever happens to the providers and however alike the turns of one user are. Were users of the
candidate `r` times as likely to meet such a turn, the label would be the candidate's with the probability
`r * share / (r * share + 1 - share)`. The ratio of both probabilities, multiplied over all users and averaged over
some `r`, is a martingale that begins at 1 while the releases are equal. So the chance that it ever reaches `1 / a` is
at most `a`, at however many looks (Ville's inequality; mixtures of ratios: Robbins 1970, "Statistical methods related
to the law of the iterated logarithm").

**Absolute limits.** Some things are too bad to be relative. The first turn of each user of the candidate is one
observation, independent of those of others; against "at most `limit` of them are bad" the same kind of ratio is formed.
Only minutes count in which the baseline had turns enough and kept the limit itself, and the comparison has to lean
against the candidate besides: an outage of the provider is in both arms.

Both together have the false-alarm rate `FALSE_ALARM_RATE` for all metrics and all steps of a plan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class DeploymentMetric(StrEnum):
    """What a turn can be, yes or no. `slow`: its first word came, or is to come, later than the 95th percentile of the
    baseline before the deployment; `dear`: it cost more than the 90th; each and a tenth."""

    FAILED = "failed"
    SLOW = "slow"
    DEAR = "dear"
    HANDED_OFF = "handed_off"
    RATED_DOWN = "rated_down"

    @property
    def label(self) -> str:
        """A turn that is one, as people read it."""
        return _METRICS[self].label

    @property
    def limit(self) -> float:
        """The share of first turns that is too much, whatever the baseline does."""
        return _METRICS[self].limit


@dataclass(frozen=True, slots=True)
class _Properties:
    label: str
    limit: float


# By construction 5 % of the baseline's turns are slow and 10 % dear, so most of them is a change for everybody.
# Failures, calls for a person and bad ratings are trouble at a fifth.
_METRICS: Final = {
    DeploymentMetric.FAILED: _Properties("a failed answer", 0.2),
    DeploymentMetric.SLOW: _Properties("a slow answer", 0.5),
    DeploymentMetric.DEAR: _Properties("a dear answer", 0.5),
    DeploymentMetric.HANDED_OFF: _Properties("a call for a person", 0.2),
    DeploymentMetric.RATED_DOWN: _Properties("a bad rating", 0.2),
}


class DeploymentDecision(StrEnum):
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
    bad_users: Mapping[DeploymentMetric, int] = field(default_factory=dict)
    bad_turns: Mapping[DeploymentMetric, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MinuteFigures:
    """One minute of one step, for the absolute limits. `stable_turns` and `stable_bad` are the baseline's turns that
    ended in it and those of them that were bad, by metric; `candidate_first` the users of the candidate whose first
    turn ended in it, and `candidate_first_bad` those of them for whom that turn was bad."""

    stable_turns: int = 0
    stable_bad: Mapping[DeploymentMetric, int] = field(default_factory=dict)
    candidate_first: int = 0
    candidate_first_bad: Mapping[DeploymentMetric, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArmMeasurements:
    """`share` is the part of the users that gets the candidate, between 0 and 1. `minutes` are all of the step, oldest
    first. `phases` is how many comparisons the whole deployment makes, `seconds_left` the time until the step may
    end."""

    share: float
    phases: int
    seconds_left: float
    candidate: ArmFigures
    stable: ArmFigures
    minutes: Sequence[MinuteFigures] = ()
    minimum_turns: int = 50
    minimum_users: int = 10


@dataclass(frozen=True, slots=True)
class CandidateVerdict:
    """`sentence` says why in plain words with the numbers; `metric` is the one that withdraws the candidate or leans
    against it. `evidence` is, by metric, how many times likelier the observations are if the candidate is worse."""

    decision: DeploymentDecision
    sentence: str
    metric: DeploymentMetric | None = None
    evidence: Mapping[DeploymentMetric, float] = field(default_factory=dict)


# The chance that a deployment of an equal release is ever withdrawn: all metrics, all steps, all looks together.
FALSE_ALARM_RATE: Final = 0.01
# The part of it that comparisons have; absolute limits have the rest.
_COMPARED: Final = 0.8
# How many times as often users of a worse candidate meet a bad turn: the alternatives, with equal weights.
_RATIOS: Final = (2.0, 4.0, 12.0)
# How far above its limit a metric may be: the share of the room up to 1.
_ABOVE: Final = (0.15, 0.35, 0.6, 0.9)
# Evidence this strong, one in twenty, is not proof, but no reason to go on.
LEANING: Final = 20.0
# No candidate is withdrawn for what fewer of its users have met.
MINIMUM_BAD_USERS: Final = 5
# In a minute with fewer turns of the baseline nobody can say that it keeps a limit.
MINIMUM_STABLE_TURNS: Final = 20
_LARGEST_LOG: Final = 700.0


def judge(measurements: ArmMeasurements) -> CandidateVerdict:
    """The verdict, from these figures alone."""
    logs = {metric: _compare(measurements, metric) for metric in DeploymentMetric}
    evidence = {metric: math.exp(min(value, _LARGEST_LOG)) for metric, value in logs.items()}
    tests = len(DeploymentMetric) * measurements.phases
    needed = math.log(tests / (FALSE_ALARM_RATE * _COMPARED))
    needed_alone = math.log(tests / (FALSE_ALARM_RATE * (1 - _COMPARED)))
    worst = max(DeploymentMetric, key=lambda metric: logs[metric])
    for metric in sorted(DeploymentMetric, key=lambda one: -logs[one]):
        if measurements.candidate.bad_users.get(metric, 0) < MINIMUM_BAD_USERS:
            continue
        if logs[metric] >= needed:
            return CandidateVerdict(DeploymentDecision.WITHDRAW, _withdrawal(measurements, metric), metric, evidence)
        if logs[metric] >= math.log(LEANING) and _exceed(measurements.minutes, metric) >= needed_alone:
            return CandidateVerdict(DeploymentDecision.WITHDRAW, _excess(measurements, metric), metric, evidence)
    leaning = worst if logs[worst] >= math.log(LEANING) else None
    if measurements.seconds_left > 0:
        return CandidateVerdict(DeploymentDecision.CONTINUE, _progress(measurements), leaning, evidence)
    if lack := _lack(measurements):
        return CandidateVerdict(DeploymentDecision.HOLD, lack, leaning, evidence)
    if leaning is not None:
        sentence = f"On hold: {_counts(measurements, leaning)}. That is no proof, but no reason to go on either."
        return CandidateVerdict(DeploymentDecision.HOLD, sentence, leaning, evidence)
    sentence = f"Nothing speaks against it after {_count(measurements.candidate.turns, 'turn')} of "
    return CandidateVerdict(
        DeploymentDecision.PROMOTE, sentence + f"{_count(measurements.candidate.users, 'user')}.", None, evidence
    )


def _compare(measurements: ArmMeasurements, metric: DeploymentMetric) -> float:
    """The logarithm of the evidence against equal releases, in who of the users that met a bad turn are whose."""
    share = measurements.share
    candidates = measurements.candidate.bad_users.get(metric, 0)
    others = measurements.stable.bad_users.get(metric, 0)
    logs = []
    for ratio in _RATIOS:
        # r*s / (r*s + 1-s) against s, and (1-s) / (r*s + 1-s) against 1-s.
        scale = math.log(ratio * share + 1 - share)
        logs.append(candidates * (math.log(ratio) - scale) - others * scale)
    return _log_mean(logs)


def _exceed(minutes: Sequence[MinuteFigures], metric: DeploymentMetric) -> float:
    """The logarithm of the evidence that more than the limit of the candidate's first turns are bad, in minutes in
    which the baseline kept it."""
    limit = metric.limit
    bad = good = 0
    for minute in minutes:
        stable = minute.stable_turns
        if stable >= MINIMUM_STABLE_TURNS and minute.stable_bad.get(metric, 0) <= limit * stable:
            met = minute.candidate_first_bad.get(metric, 0)
            bad += met
            good += minute.candidate_first - met
    alternatives = [limit + above * (1 - limit) for above in _ABOVE]
    return _log_mean([bad * math.log(p / limit) + good * math.log((1 - p) / (1 - limit)) for p in alternatives])


def _log_mean(logs: Sequence[float]) -> float:
    largest = max(logs)
    return largest + math.log(sum(math.exp(value - largest) for value in logs) / len(logs))


def _lack(measurements: ArmMeasurements) -> str:
    """What is missing of the traffic that a step needs; "" for nothing."""
    turns, users = measurements.candidate.turns, measurements.candidate.users
    if turns < measurements.minimum_turns:
        return f"Too little traffic to tell: {turns} of {measurements.minimum_turns} turns on the candidate."
    if users < measurements.minimum_users:
        return f"Too few users to tell: {users} of {measurements.minimum_users} on the candidate."
    if not measurements.stable.turns:
        return "Nothing to compare with: no turn on the release before."
    return ""


def _progress(measurements: ArmMeasurements) -> str:
    candidate, stable = measurements.candidate, measurements.stable
    return (
        f"So far {_count(candidate.turns, 'turn')} of {_count(candidate.users, 'user')} on the candidate, "
        f"{_count(stable.turns, 'turn')} of {_count(stable.users, 'user')} on the release before."
    )


def _counts(measurements: ArmMeasurements, metric: DeploymentMetric) -> str:
    candidate, stable = measurements.candidate, measurements.stable
    return (
        f"{candidate.bad_users.get(metric, 0):,} of {_count(candidate.users, 'user')} met {metric.label} on the "
        f"candidate, {stable.bad_users.get(metric, 0):,} of {stable.users:,} on the release before, in the same time"
    )


def _withdrawal(measurements: ArmMeasurements, metric: DeploymentMetric) -> str:
    return (
        f"Withdrawn: {_counts(measurements, metric)}. With equal releases so much would happen in fewer than 1 of "
        f"{round(1 / FALSE_ALARM_RATE)} deployments."
    )


def _excess(measurements: ArmMeasurements, metric: DeploymentMetric) -> str:
    return (
        f"Withdrawn: more than {metric.limit:.0%} of first turns on the candidate had {metric.label} while the release "
        f"before kept that limit. {_counts(measurements, metric)}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
