"""Memory management: what is remembered and forgotten, what a load leaves behind, and how full this machine is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from foundation.clock import now
from monitoring.gauges import BAD_MEMORY_PERCENT, WARN_MEMORY_PERCENT, read_host_memory
from monitoring.readiness_validator.areas.error_handling_checks import NO_TRIAL
from monitoring.readiness_validator.check_lines import Area, CheckLine, LineMaker
from monitoring.readiness_validator.scope import RunScope
from monitoring.readiness_validator.scratch.trial_settings import LOAD, MEMORY

# By which a process may grow while it answers the load.
MAX_GROWN_BYTES: Final = 64 * 1024**2
_MEBIBYTE: Final = 1024**2
_LINES: Final = LineMaker(Area.MEMORY_MANAGEMENT)


def check(scope: RunScope) -> Iterator[CheckLine]:
    """Memories of agents first, then those of processes and machines."""
    if fault := scope.trials.fault(MEMORY):
        yield _LINES.failed("memories", f"They could not be tried. {fault}", NO_TRIAL)
    else:
        yield from judge_memories(scope.trials.results[MEMORY])
    if LOAD in scope.trials.results:
        yield judge_growth(scope.trials.results[LOAD]["grown_bytes"])
    yield from _check_hosts()


def judge_memories(result: Mapping[str, Any]) -> Iterator[CheckLine]:
    """The lines for what the trial has measured."""
    remedy = "Look at Memories and the job “embed memories” in the console; agents must not rely on memory until then."
    yield _LINES.judge("recall", result["recalled"], "A fact was recalled.", "A fact was not recalled.", remedy)
    yield _LINES.judge(
        "correction",
        result["superseded"],
        "A corrected fact took the place of the old one.",
        "A corrected fact did not take the place of the old one.",
        remedy,
    )
    yield _LINES.judge(
        "erasure",
        result["forgotten"],
        "What was forgotten was recalled no more.",
        "What was forgotten was recalled all the same.",
        "Do not promise erasure to anybody until this is found: it is a fault of this version.",
    )


def judge_growth(grown_bytes: int) -> CheckLine:
    """The line for how much a process grew while it answered the load."""
    mebibytes = max(0, grown_bytes) / _MEBIBYTE
    return _LINES.judge(
        "growth under load",
        grown_bytes <= MAX_GROWN_BYTES,
        f"A runner grew by {mebibytes:.0f} MiB.",
        f"A runner grew by {mebibytes:.0f} MiB while it answered a few turns.",
        "A tool or a package of yours may keep what it should not: start without it, and run the checks again.",
    )


def _check_hosts() -> Iterator[CheckLine]:
    hosts = read_host_memory(now())
    if not hosts:
        yield _LINES.passed("memory of this machine", "This system does not say.")
        return
    fullest = hosts[0]
    message = f"{fullest.percent:.0f} % are in use of {fullest.label}."
    remedy = "Give the machine more, or start runners with less room (BANDSTAND_RUNNER_CONCURRENCY)."
    if fullest.percent > BAD_MEMORY_PERCENT:
        yield _LINES.failed("memory of this machine", message, remedy)
    elif fullest.percent > WARN_MEMORY_PERCENT:
        yield _LINES.warning("memory of this machine", message, remedy)
    else:
        yield _LINES.passed("memory of this machine", message)
