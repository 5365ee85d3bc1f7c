"""The verdict on a deployment: what withdraws a candidate, what holds it, and how seldom an equal one is withdrawn."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.deployment_verdict import (
    LEANING,
    ArmFigures,
    ArmMeasurements,
    DeploymentDecision,
    DeploymentMetric,
    MinuteFigures,
    judge,
)
from tests.bench.verdicts import BAD, Scenario, seconds_until_withdrawn

SHARES = st.sampled_from([0.01, 0.05, 0.25, 0.5, 0.95])


def _arm(users: int, turns: int | None = None, **bad: int) -> ArmFigures:
    counts = {DeploymentMetric(name): number for name, number in bad.items()}
    return ArmFigures(users, users if turns is None else turns, counts)


def _figures(candidate: ArmFigures, stable: ArmFigures, *, share: float = 0.05, left: float = 0.0) -> ArmMeasurements:
    return ArmMeasurements(share=share, phases=3, seconds_left=left, candidate=candidate, stable=stable)


def test_a_candidate_whose_users_fail_oftener_is_withdrawn_and_the_sentence_has_the_numbers() -> None:
    verdict = judge(_figures(_arm(41, failed=14), _arm(790, failed=6), left=500))
    assert (verdict.decision, verdict.metric) == (DeploymentDecision.WITHDRAW, DeploymentMetric.FAILED)
    assert verdict.sentence == (
        "Withdrawn: 14 of 41 users met a failed answer on the candidate, 6 of 790 on the release before, in the same "
        "time. With equal releases so much would happen in fewer than 1 of 100 deployments."
    )


def test_what_is_in_both_arms_is_nobodys_fault() -> None:
    verdict = judge(_figures(_arm(50, failed=50), _arm(950, failed=950), left=500))
    assert verdict.decision is DeploymentDecision.CONTINUE
    assert verdict.evidence[DeploymentMetric.FAILED] < 1


def test_few_bad_users_withdraw_nothing() -> None:
    figures = _figures(_arm(20, failed=4), _arm(0), share=0.01, left=500)
    assert judge(figures).decision is DeploymentDecision.CONTINUE
    more = replace(figures, candidate=_arm(20, failed=5))
    assert judge(more).decision is DeploymentDecision.WITHDRAW


@pytest.mark.parametrize(
    ("candidate", "stable", "expected"),
    [
        (_arm(3, 12), _arm(100), "Too little traffic to tell: 12 of 50 turns on the candidate."),
        (_arm(9, 60), _arm(100), "Too few users to tell: 9 of 10 on the candidate."),
        (_arm(30, 60), _arm(0), "Nothing to compare with: no turn on the release before."),
    ],
)
def test_too_little_traffic_holds_and_never_promotes(candidate: ArmFigures, stable: ArmFigures, expected: str) -> None:
    verdict = judge(_figures(candidate, stable))
    assert (verdict.decision, verdict.sentence) == (DeploymentDecision.HOLD, expected)


def test_what_leans_against_the_candidate_holds_it_at_the_end_of_its_step() -> None:
    figures = _figures(_arm(60, dear=3), _arm(1000, dear=1))
    verdict = judge(figures)
    assert verdict.evidence[DeploymentMetric.DEAR] >= LEANING
    assert (verdict.decision, verdict.metric) == (DeploymentDecision.HOLD, DeploymentMetric.DEAR)
    assert "3 of 60 users met a dear answer" in verdict.sentence


def test_a_good_one_is_promoted_when_its_step_is_over_and_not_before() -> None:
    figures = _figures(_arm(60, 100, failed=1), _arm(1100, 2000, failed=22))
    assert judge(figures).decision is DeploymentDecision.PROMOTE
    assert judge(replace(figures, seconds_left=0.1)).decision is DeploymentDecision.CONTINUE


def test_a_limit_needs_less_of_a_comparison_in_minutes_in_which_the_baseline_keeps_it() -> None:
    figures = _figures(_arm(30, failed=13), _arm(90, failed=12), share=0.25, left=100)
    assert LEANING <= judge(figures).evidence[DeploymentMetric.FAILED] < 1_000
    assert judge(figures).decision is DeploymentDecision.CONTINUE
    kept = MinuteFigures(45, {DeploymentMetric.FAILED: 6}, 15, {DeploymentMetric.FAILED: 12})
    outage = replace(kept, stable_bad={DeploymentMetric.FAILED: 10})
    quiet = replace(kept, stable_turns=19, stable_bad={})
    assert judge(replace(figures, minutes=[outage, quiet])).decision is DeploymentDecision.CONTINUE
    verdict = judge(replace(figures, minutes=[kept, kept]))
    assert verdict.decision is DeploymentDecision.WITHDRAW
    assert "more than 20% of first turns" in verdict.sentence


@given(
    share=SHARES,
    bad=st.integers(0, 500),
    stable_bad=st.integers(0, 500),
    metric=st.sampled_from(list(DeploymentMetric)),
)
def test_evidence_grows_with_bad_users_of_the_candidate_and_shrinks_with_those_of_the_baseline(
    share: float, bad: int, stable_bad: int, metric: DeploymentMetric
) -> None:
    def evidence(own: int, other: int) -> float:
        figures = _figures(_arm(1000, **{metric: own}), _arm(1000, **{metric: other}), share=share)
        return judge(figures).evidence[metric]

    assert evidence(bad + 1, stable_bad) >= evidence(bad, stable_bad) >= evidence(bad, stable_bad + 1)


@given(share=SHARES, labels=st.integers(1, 12))
def test_evidence_is_a_martingale_of_equal_releases(share: float, labels: int) -> None:
    """Over all ways in which so many users can be divided, each with its probability, the mean is 1."""
    mean = 0.0
    for own in range(labels + 1):
        weight = comb(labels, own) * share**own * (1 - share) ** (labels - own)
        figures = _figures(_arm(labels, failed=own), _arm(labels, failed=labels - own), share=share)
        mean += weight * judge(figures).evidence[DeploymentMetric.FAILED]
    assert mean == pytest.approx(1.0)


_COUNTS = st.dictionaries(st.sampled_from(list(DeploymentMetric)), st.integers(0, 10**6))
_ARMS = st.builds(ArmFigures, st.integers(0, 10**6), st.integers(0, 10**7), _COUNTS)


@given(
    st.builds(
        ArmMeasurements,
        share=SHARES,
        phases=st.integers(1, 11),
        seconds_left=st.floats(-1e6, 1e6),
        candidate=_ARMS,
        stable=_ARMS,
        minutes=st.lists(
            st.builds(MinuteFigures, st.integers(0, 1000), _COUNTS, st.integers(10**6, 2 * 10**6), _COUNTS), max_size=5
        ),
    )
)
def test_any_figures_have_a_verdict_with_a_sentence(measurements: ArmMeasurements) -> None:
    verdict = judge(measurements)
    assert verdict.sentence.endswith(".")
    assert (
        verdict.decision is not DeploymentDecision.PROMOTE or measurements.candidate.turns >= measurements.minimum_turns
    )


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario("alike turns", 0.05, 0.3, turns_per_user=30),
        Scenario("bursts", 0.25, 0.1, bursts=True),
        Scenario("outage", 0.25, 0.1, outage=1.0),
        Scenario("hold-back", 0.95, 0.1, outage=0.4),
    ],
    ids=lambda scenario: scenario.name,
)
def test_equal_releases_stay(scenario: Scenario) -> None:
    random = np.random.default_rng(17)
    assert not [end for _ in range(20) if (end := seconds_until_withdrawn(scenario, random))]


@pytest.mark.parametrize("name", BAD)
def test_bad_releases_are_withdrawn_for_what_they_are(name: str) -> None:
    random = np.random.default_rng(17)
    scenario = Scenario(name, 0.05, 0.1, worse=BAD[name])
    ends = [seconds_until_withdrawn(scenario, random) for _ in range(5)]
    assert all(end is not None and end[0] <= 120 for end in ends)
    assert {end[1] for end in ends if end} == set(BAD[name])
