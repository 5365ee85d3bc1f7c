"""Scopes of readiness checks, with an environment that a test says, and what their lines say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.conf import settings

from foundation.ids import new_id
from monitoring.readiness_validator.candidates import ReleaseCandidate
from monitoring.readiness_validator.check_lines import CheckLine, CheckOutcome
from monitoring.readiness_validator.scope import RunScope
from monitoring.readiness_validator.scratch.trial_settings import TrialReport, TrialSettings
from tests.support.people import OFFLINE

GOOD = OFFLINE | {"instructions": "Be brief."}


def candidate(**settings_of_agent: Any) -> ReleaseCandidate:
    """A draft on the offline model."""
    return ReleaseCandidate(new_id(), "demo", "Demo", "the draft", GOOD | settings_of_agent)


def scope(
    *candidates: ReleaseCandidate,
    environment: Any = settings,
    trials: Mapping[str, Mapping[str, Any]] | None = None,
    **config: Any,
) -> RunScope:
    """`config` are attributes of `settings.BANDSTAND`; `trials` what was measured, in place of measuring it."""
    more: dict[str, Any] = {} if trials is None else {"do_trials": _reported(trials)}
    return RunScope(
        candidates=candidates,
        config=settings.BANDSTAND.model_copy(update=config),
        environment=environment,
        **more,
    )


def _reported(trials: Mapping[str, Mapping[str, Any]]) -> Callable[[TrialSettings], TrialReport]:
    return lambda _: TrialReport(trials)


def outcomes(lines: Iterable[CheckLine]) -> dict[str, str]:
    """The outcome of each line by its name. Those that have not passed say what to do."""
    found = {}
    for line in lines:
        assert bool(line.remedy) == (line.outcome is not CheckOutcome.PASSED), line
        found[line.name] = line.outcome.value
    return found
