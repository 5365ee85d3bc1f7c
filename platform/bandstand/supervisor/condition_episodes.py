"""Which conditions are open, decided from what each look sees: pure, with the time as an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from bandstand.supervisor.conditions import TERMS, Condition


@dataclass(frozen=True, slots=True)
class Subject:
    """A condition, and the process that it concerns where there are several."""

    condition: Condition
    process: str = ""

    def __str__(self) -> str:
        return f"{self.condition}:{self.process}" if self.process else str(self.condition)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The subject that prints so. Raises `ValueError`."""
        condition, _, process = text.partition(":")
        return cls(Condition(condition), process)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look saw. `is_bad` None: it could not be seen, so nothing changes. `at_once`: without waiting for more
    looks."""

    is_bad: bool | None
    detail: str = ""
    at_once: bool = False


class Transition(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Change:
    """A condition begins or ends at `at`; it was first seen at `since`, with `detail`."""

    subject: Subject
    transition: Transition
    since: datetime
    at: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class Episode:
    """An open condition."""

    since: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class _Streak:
    """Looks in a row that saw the opposite of what is reported; `began` is a time of the monotonic clock."""

    began: float
    since: datetime


class Episodes:
    """The open conditions by their subjects. Durations are measured by a monotonic clock, which stands still while the
    machine sleeps; `at` is for people."""

    def __init__(self, episodes: Mapping[Subject, Episode] | None = None) -> None:
        self.episodes: dict[Subject, Episode] = dict(episodes or {})
        self._streaks: dict[Subject, _Streak] = {}

    def update(
        self, observations: Mapping[Subject, Observation], *, seconds: float, at: datetime, is_complete: bool = True
    ) -> list[Change]:
        """Take in one look, made at `seconds` of the monotonic clock, and return what begins and ends with it.

        An open condition whose subject is not among the observations of a complete look exists no more: it counts as
        not seen.
        """
        missing = self.episodes.keys() - observations.keys() if is_complete else set()
        gone = {subject: Observation(is_bad=False) for subject in missing}
        changes = (
            self._judge(subject, observation, seconds, at) for subject, observation in {**observations, **gone}.items()
        )
        return [change for change in changes if change is not None]

    def _judge(self, subject: Subject, observation: Observation, seconds: float, at: datetime) -> Change | None:
        episode, terms = self.episodes.get(subject), TERMS[subject.condition]
        if observation.is_bad is None or observation.is_bad is (episode is not None):
            self._streaks.pop(subject, None)
            if episode is not None and observation.is_bad:
                self.episodes[subject] = replace(episode, detail=observation.detail)
            return None
        streak = self._streaks.setdefault(subject, _Streak(seconds, at))
        hold_seconds = terms.hold_seconds if episode is None else terms.clear_seconds
        if seconds - streak.began < hold_seconds and not observation.at_once:
            return None
        del self._streaks[subject]
        if episode is None:
            self.episodes[subject] = Episode(streak.since, observation.detail)
            return Change(subject, Transition.FIRING, streak.since, at, observation.detail)
        del self.episodes[subject]
        return Change(subject, Transition.RESOLVED, episode.since, streak.since, episode.detail)

    def dump(self) -> dict[str, Any]:
        """The open conditions as JSON has them."""
        return {str(subject): {**asdict(one), "since": one.since.isoformat()} for subject, one in self.episodes.items()}

    @classmethod
    def load(cls, content: Any) -> Self:
        """What `dump` returned. Raises `ValueError`, `TypeError`, `KeyError` or `AttributeError` for anything else."""
        return cls(
            {
                Subject.parse(subject): Episode(datetime.fromisoformat(one["since"]), str(one["detail"]))
                for subject, one in content.items()
            }
        )
