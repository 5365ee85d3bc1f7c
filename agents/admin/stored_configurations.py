"""Stored configurations on the console's pages. One that this version cannot read is shown as it is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from agents.domain.config_diff import Difference, compare_configurations
from agents.domain.configuration import AgentConfiguration, NewerConfiguration
from agents.models import Agent, AgentDraft, Configuration
from console.views import console_page
from foundation.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class UnreadableConfiguration:
    """A row whose configuration this version cannot read: why, and the configuration as indented JSON."""

    row: Configuration
    fault: str
    stored: str

    @property
    def name(self) -> str:
        return "The draft" if isinstance(self.row, AgentDraft) else str(self.row)


@dataclass(frozen=True, slots=True)
class ReleaseComparison:
    """What differs between two rows; `differences` is None where there are no two that can be read."""

    differences: list[Difference] | None
    unreadable: Sequence[UnreadableConfiguration] = ()


def read_configuration(row: Configuration) -> AgentConfiguration | UnreadableConfiguration:
    """The row's configuration, or why it cannot be read."""
    try:
        return AgentConfiguration.parse(row.configuration)
    except (InvalidInput, NewerConfiguration) as error:
        pointer = f" ({error.pointer})" if error.pointer else ""
        stored = json.dumps(row.configuration, indent=2, ensure_ascii=False)
        return UnreadableConfiguration(row, f"{error.detail}{pointer}", stored)


def compare_stored(old: Configuration | None, new: Configuration) -> ReleaseComparison:
    """Compare two rows; without `old`, see only whether `new` can be read."""
    read = [read_configuration(row) for row in (old, new) if row is not None]
    match read:
        case [AgentConfiguration() as first, AgentConfiguration() as second]:
            return ReleaseComparison(compare_configurations(first, second))
    return ReleaseComparison(None, [one for one in read if isinstance(one, UnreadableConfiguration)])


def unreadable_page(
    request: HttpRequest, model_admin: Any, agent: Agent, unreadable: UnreadableConfiguration, *, title: str
) -> HttpResponse:
    """The page in place of one that would show, edit or publish this configuration."""
    return console_page(
        request, model_admin, "console/unreadable_page.html", title=title, agent=agent, unreadable=[unreadable]
    )
