"""The definition of a check and of its findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID

from django.urls import reverse
from django.utils.http import urlencode

if TYPE_CHECKING:
    from health_checks.run import Measurements

M = TypeVar("M")


class Level(StrEnum):
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class Concerns(StrEnum):
    """What a check is about."""

    INSTALLATION = "installation"
    AGENT = "agent"


class Reader(StrEnum):
    """The consumers of checks: the overview page and `/ready`."""

    OVERVIEW = "overview"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Link:
    """A page, by the name of its URL, its arguments and its query."""

    view: str
    args: tuple[Any, ...] = ()
    query: Mapping[str, Any] = field(default_factory=dict)

    def url(self) -> str:
        """The path on this site. Raises `NoReverseMatch` where there is no such page."""
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{reverse(self.view, args=self.args)}{query}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check. `message` is for people; with `Reader.READY` it is public.

    `value` is the number of a metric, `percent` how full a gauge is. Empty `remedy` and `link` default to those of the
    check. `agent_id` is the agent of a check with `Concerns.AGENT`.
    """

    level: Level
    message: str
    value: str = ""
    remedy: str = ""
    link: Link | None = None
    agent_id: UUID | None = None
    percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[M]):
    """One check.

    `measure` reads the data, once per run for all checks that share it; it runs outside a transaction, and needs its
    own timeout for anything but the database. `evaluator` is pure: it returns one finding per problem, or none; with
    `is_metric`, always exactly one finding with a value.

    `alarms_when` describes the threshold for the operators' guide, `remedy` what to do then. `order` is the position
    in every list. `detailed_by` names the check that lists individually what this one counts. A user needs all
    `permissions` to see it; `/ready` needs none. If a `prerequisite` is not good, the checks after it are skipped,
    because the data that they read may not exist.
    """

    name: str
    title: str
    measure: Callable[[Measurements], M]
    evaluator: Callable[[M], Sequence[Finding]]
    alarms_when: str
    remedy: str
    readers: frozenset[Reader]
    order: int
    concerns: Concerns = Concerns.INSTALLATION
    link: Link | None = None
    permissions: tuple[str, ...] = ()
    is_metric: bool = False
    detailed_by: str = ""
    prerequisite: bool = False

    def evaluate(self, measurement: M) -> tuple[Finding, ...]:
        """The findings of `evaluator`, with the check's own remedy and link as defaults.

        Raises `ValueError` for a metric that is not one finding with a value.
        """
        findings = self.evaluator(measurement)
        if self.is_metric and [bool(finding.value) for finding in findings] != [True]:
            raise ValueError(f"The metric {self.name!r} is not one finding with a value.")
        return tuple(
            replace(finding, remedy=finding.remedy or self.remedy, link=finding.link or self.link)
            for finding in findings
        )


SEVERITY: Final = (Level.GOOD, Level.WARN, Level.BAD)


def highest_level(findings: Sequence[Finding]) -> Level:
    """The most severe level among `findings`; good if there are none."""
    return max((finding.level for finding in findings), key=SEVERITY.index, default=Level.GOOD)
