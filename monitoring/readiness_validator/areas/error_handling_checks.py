"""Error handling: a real circuit breaker opens on a scratch route, and recovers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from monitoring.readiness_validator.check_lines import Area, CheckLine, LineMaker
from monitoring.readiness_validator.scope import RunScope
from monitoring.readiness_validator.scratch.trial_bench import OFFLINE, ROUTE
from monitoring.readiness_validator.scratch.trial_settings import BREAKER

_LINES: Final = LineMaker(Area.ERROR_HANDLING)
_SEE_LOG: Final = "The log of whoever ran the check says why. No route is protected until this works."


def check(scope: RunScope) -> Iterator[CheckLine]:
    """What became of the scratch route and of the turns that wanted it."""
    if fault := scope.trials.fault(BREAKER):
        yield _LINES.failed("circuit breaker", f"It could not be tried. {fault}", NO_TRIAL)
        return
    yield from judge_breaker(scope.trials.results[BREAKER])


# What to do where no trial could be made.
NO_TRIAL: Final = "Let the database role make schemas (GRANT CREATE ON DATABASE … TO …), then run the checks again."


def judge_breaker(result: Mapping[str, Any]) -> Iterator[CheckLine]:
    """The lines for what the trial has measured."""
    is_open = bool(result["opened"])
    yield _LINES.judge(
        "breaker opens",
        is_open,
        f"It opened after {result['calls']} failed calls.",
        f"It was still closed after {result['calls']} failed calls.",
        "Set BANDSTAND_BREAKER_FAILURES to 5, or leave it out.",
    )
    if not is_open:
        return
    yield _LINES.judge(
        "breaker is shared",
        result["stored"] == "open" and bool(result["others_know"]),
        "Another process knew of it.",
        "Another process did not learn of it.",
        "See that DATABASE_URL leads to the server itself, without a pooler: notifications must arrive.",
    )
    yield _LINES.judge(
        "next model answers",
        result["answered_meanwhile"] == OFFLINE and not result["asked_while_open"],
        "A turn was answered by its next model, and the route was left alone.",
        "A turn that had a second model was not answered by it.",
        _SEE_LOG,
    )
    seconds = result.get("closed_seconds")
    yield _LINES.judge(
        "breaker recovers",
        seconds is not None and result.get("answered_after") == ROUTE,
        f"It closed {seconds} s after the provider answered again, and the next turn used it.",
        "It did not close after the provider answered again.",
        _SEE_LOG,
    )
