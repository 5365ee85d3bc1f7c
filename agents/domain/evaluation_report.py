"""The report of a run: how both releases did on each entry, what is noise, and whether the candidate passes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.domain.evaluations import Lane, ResultStatus

_WORD = re.compile(r"\w+", re.UNICODE)


@dataclass(frozen=True, slots=True)
class LaneOutcome:
    """One entry in one lane. `differs` from the recorded answer; `passed` all checks, None where there is none."""

    status: str
    differs: bool | None = None
    passed: bool | None = None

    @property
    def is_bad(self) -> bool:
        """Whether it has no answer, or one that fails."""
        return self.status in (ResultStatus.FAILED, ResultStatus.DIVERGED) or self.passed is False


def normalise_words(text: str) -> list[str]:
    """The words of a text, without what is no difference to a reader: case, spaces, punctuation."""
    return _WORD.findall(text.casefold())


def sign_test(more: int, fewer: int) -> float:
    """The chance of `more` or more of `more + fewer` pairs in one direction where both are equally likely: the exact,
    one-sided sign test (for pairs of yes and no it is McNemar's test)."""
    pairs = more + fewer
    ways: int = sum(math.comb(pairs, number) for number in range(more, pairs + 1))
    return float(ways / 2**pairs)


def summarise_run(entries: Sequence[Mapping[Lane, LaneOutcome]], *, baseline: int, candidate: int) -> dict[str, Any]:
    """The report of a finished run, of the numbers of both releases and the outcome of each entry in both lanes.

    `noise`: the share of entries whose answer differs when the baseline answers them again. `differs_beyond_noise`: the
    candidate differs where the baseline does not, oftener than the other way round, at a level of 5 %. `worse`: entries
    on which the candidate is bad and the baseline is not. It has passed when there is none.
    """
    lanes = {lane: _count([entry[lane] for entry in entries]) for lane in Lane}
    only_candidate = sum(_differs(entry, Lane.CANDIDATE) and not _differs(entry, Lane.BASELINE) for entry in entries)
    only_baseline = sum(_differs(entry, Lane.BASELINE) and not _differs(entry, Lane.CANDIDATE) for entry in entries)
    worse = sum(entry[Lane.CANDIDATE].is_bad and not entry[Lane.BASELINE].is_bad for entry in entries)
    better = sum(entry[Lane.BASELINE].is_bad and not entry[Lane.CANDIDATE].is_bad for entry in entries)
    total = len(entries)
    probability = sign_test(only_candidate, only_baseline)
    report = {
        "entries": total,
        "lanes": {lane.value: counts for lane, counts in lanes.items()},
        "noise": lanes[Lane.BASELINE]["differs"] / total if total else 0.0,
        "only_candidate_differs": only_candidate,
        "only_baseline_differs": only_baseline,
        "probability": probability,
        "differs_beyond_noise": probability < 0.05,
        "worse": worse,
        "better": better,
        "passed": worse == 0,
    }
    return report | {"sentence": _sentence(report, baseline, candidate)}


def _differs(entry: Mapping[Lane, LaneOutcome], lane: Lane) -> bool:
    return entry[lane].differs is True


def _count(outcomes: Sequence[LaneOutcome]) -> dict[str, int]:
    statuses = {
        status.value: sum(one.status == status for one in outcomes)
        for status in (ResultStatus.DONE, ResultStatus.DIVERGED, ResultStatus.FAILED)
    }
    return statuses | {
        "differs": sum(one.differs is True for one in outcomes),
        "passed": sum(one.passed is True for one in outcomes),
        "failed_checks": sum(one.passed is False for one in outcomes),
    }


def _sentence(report: Mapping[str, Any], baseline: int, candidate: int) -> str:
    total, worse = report["entries"], report["worse"]
    entries = f"{total:,} entry" if total == 1 else f"{total:,} entries"
    if worse:
        are = "is" if worse == 1 else "are"
        start = f"Failed: {worse:,} of {entries} {are} worse on release {candidate} than on release {baseline}."
    else:
        start = f"Passed: none of {entries} is worse on release {candidate} than on release {baseline}."
    lanes = report["lanes"]
    return (
        f"{start} {lanes['candidate']['differs']:,} answers differ from the recorded ones; "
        f"{lanes['baseline']['differs']:,} do so when release {baseline} answers again."
    )
