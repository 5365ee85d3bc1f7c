"""Performance: a short load with the offline model, and how long its turns took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from console.formatting import format_seconds
from monitoring.readiness_validator.areas.error_handling_checks import NO_TRIAL
from monitoring.readiness_validator.check_lines import Area, CheckLine, LineMaker
from monitoring.readiness_validator.scope import RunScope
from monitoring.readiness_validator.scratch.trial_settings import LOAD

# The offline model answers at once: this is what the platform itself may take on a machine that has other work, too.
MAX_P95_SECONDS: Final = 2.0
_LINES: Final = LineMaker(Area.PERFORMANCE)


def check(scope: RunScope) -> Iterator[CheckLine]:
    """Whether all turns of the load were answered, and fast enough."""
    if fault := scope.trials.fault(LOAD):
        yield _LINES.failed("load", f"It could not be tried. {fault}", NO_TRIAL)
        return
    yield from judge_load(scope.trials.results[LOAD], scope.trial_settings.sessions)


def judge_load(result: Mapping[str, Any], sessions: int) -> Iterator[CheckLine]:
    """The lines for what the trial has measured, with `sessions` side by side."""
    turns, completed = result["turns"], result["completed"]
    yield _LINES.judge(
        "answers",
        completed == turns,
        f"All {turns} turns were answered, {sessions} at a time.",
        f"{turns - completed} of {turns} turns were not answered: {', '.join(result['failed']) or 'too late'}.",
        "The same turns fail for people. The log of whoever ran the check says why.",
    )
    if not (seconds := result["seconds"]):
        return
    p50, p95, p99 = (quantile(seconds, share) for share in (0.5, 0.95, 0.99))
    figures = (
        f"p50 {format_seconds(p50)}, p95 {format_seconds(p95)}, p99 {format_seconds(p99)}; "
        f"{turns / result['elapsed_seconds']:.0f} turns a second"
    )
    yield _LINES.judge(
        "response time",
        p95 <= MAX_P95_SECONDS,
        f"{figures}.",
        f"{figures}: more than {format_seconds(MAX_P95_SECONDS)} for 5 %, without any model.",
        "See what else takes this machine's processors, or the database's disk; then run the checks again.",
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least of the values, in their order, that `share` of all do not exceed."""
    return ordered[min(len(ordered) - 1, max(0, int(share * len(ordered) + 0.999999) - 1))]
