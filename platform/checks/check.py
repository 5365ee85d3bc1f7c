"""What a check is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID

from django.urls import reverse
from django.utils.http import urlencode

if TYPE_CHECKING:
    from checks.run import Measurements

M = TypeVar("M")


class Level(StrEnum):
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class Concerns(StrEnum):
    """Whose state a check tells of."""

    INSTALLATION = "installation"
    AGENT = "agent"


class Reader(StrEnum):
    """Who runs a check as a part of a list."""

    OVERVIEW = "overview"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Link:
    """A page: the name of its URL, with what fills it."""

    view: str
    args: tuple[Any, ...] = ()
    query: Mapping[str, Any] = field(default_factory=dict)

    def url(self) -> str:
        """The path on this site. Raises `NoReverseMatch` where there is no such page."""
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{reverse(self.view, args=self.args)}{query}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says of one thing, in words for people. For `Reader.READY` anybody may read them.

    `value` is the number of a figure. `remedy` and `link` are the check's own where a finding brings none. `agent_id`
    is the agent of a check that concerns agents.
    """

    level: Level
    message: str
    value: str = ""
    remedy: str = ""
    link: Link | None = None
    agent_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[M]):
    """One thing that is looked at.

    `measure` reads the rows, once in a run for all checks that have the same one; it is run outside a transaction, and
    what it waits for besides the database needs a deadline of its own. `judge` is pure. It returns one finding for each
    thing that needs somebody, none if all is well; that of a `figure` exactly one, with a value, always.

    `alarms_when` is the threshold in the words of the operators' guide, `remedy` what to do then. `order` is its place
    in every list. `detailed_by` is the check that names one by one what this one counts. Who sees it holds all
    `permissions`; those of `/ready` need none. If a `prerequisite` is not good, what the checks after it read may not
    be there: they are skipped.
    """

    name: str
    title: str
    measure: Callable[[Measurements], M]
    judge: Callable[[M], Sequence[Finding]]
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
        """What `judge` says, with the check's own remedy and link where a finding brings none.

        Raises `ValueError` for a figure that is not one finding with a value.
        """
        findings = self.judge(measurement)
        if self.is_metric and [bool(finding.value) for finding in findings] != [True]:
            raise ValueError(f"The figure {self.name!r} is not one finding with a value.")
        return tuple(
            replace(finding, remedy=finding.remedy or self.remedy, link=finding.link or self.link)
            for finding in findings
        )


SEVERITY: Final = (Level.GOOD, Level.WARN, Level.BAD)


def worst(findings: Sequence[Finding]) -> Level:
    """The highest level among `findings`; good if there is none."""
    return max((finding.level for finding in findings), key=SEVERITY.index, default=Level.GOOD)
