"""What a run is about, and what its checks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from agents.domain.configuration import AgentConfiguration
from agents.llm.gateway import GatewayConfig
from agents.runner.model_settings import read_gateway_config
from foundation.errors import BandstandError
from monitoring.readiness_validator.candidates import ReleaseCandidate
from monitoring.readiness_validator.scratch.running_trials import run_trials
from monitoring.readiness_validator.scratch.trial_settings import TrialReport, TrialSettings


@dataclass(frozen=True, kw_only=True)
class RunScope:
    """`config` is `settings.BANDSTAND`. `environment` are Django's settings."""

    candidates: Sequence[ReleaseCandidate]
    config: Any
    environment: Any
    trial_settings: TrialSettings = field(default_factory=TrialSettings)
    do_trials: Callable[[TrialSettings], TrialReport] = run_trials

    @cached_property
    def trials(self) -> TrialReport:
        """What the trials have measured, which are done once for all areas."""
        return self.do_trials(self.trial_settings)

    @cached_property
    def models(self) -> GatewayConfig:
        """How this installation reaches models."""
        return read_gateway_config(self.config)

    @cached_property
    def configurations(self) -> Sequence[tuple[ReleaseCandidate, AgentConfiguration]]:
        """Those of the candidates that this version can read."""
        return [(one, parsed) for one in self.candidates if (parsed := _parse(one)) is not None]

    @cached_property
    def routes(self) -> Sequence[str]:
        """The routes of all candidates, each once, in their order."""
        return list(dict.fromkeys(route for _, configuration in self.configurations for route in configuration.routes))


def _parse(candidate: ReleaseCandidate) -> AgentConfiguration | None:
    try:
        return AgentConfiguration.parse(candidate.stored)
    except BandstandError:
        return None
