"""Deployments: the states that one goes through, the plan by which it goes, and which users meet its candidate.

A deployment brings a release, its candidate, to the users of an agent step by step, while another one, its baseline,
answers the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from foundation.errors import InvalidInput


class DeploymentState(StrEnum):
    """`staging`: builders try the candidate. `validating`: readiness checks and its test set run. `canary`: a share of
    the users gets it in new sessions. `live`: it is the agent's live release, from now on for all but the hold-back.
    `watching`: the same, for a fixed time, at whose end the deployment is `done`. `rolled_back`: it was withdrawn after
    users had met it, or could have. `cancelled`: nobody had."""

    DRAFT = "draft"
    STAGING = "staging"
    VALIDATING = "validating"
    CANARY = "canary"
    LIVE = "live"
    WATCHING = "watching"
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"


S = DeploymentState
_BACK = frozenset({S.ROLLED_BACK, S.CANCELLED})

# A trigger in the database enforces them, too. After `done` going back is a new deployment.
DEPLOYMENT_MOVES: Final[Mapping[DeploymentState, frozenset[DeploymentState]]] = {
    S.DRAFT: frozenset({S.STAGING}) | _BACK,
    S.STAGING: frozenset({S.VALIDATING}) | _BACK,
    S.VALIDATING: frozenset({S.CANARY}) | _BACK,
    S.CANARY: frozenset({S.LIVE}) | _BACK,
    S.LIVE: frozenset({S.WATCHING}) | _BACK,
    S.WATCHING: frozenset({S.DONE}) | _BACK,
    S.DONE: frozenset(),
    S.ROLLED_BACK: frozenset(),
    S.CANCELLED: frozenset(),
}
ENDED_DEPLOYMENTS: Final = frozenset(state for state, moves in DEPLOYMENT_MOVES.items() if not moves)
# New sessions are divided between candidate and baseline.
SPLITTING: Final = frozenset({S.CANARY, S.LIVE, S.WATCHING})
# Both answer most users; going back is a change of the agent's live release, too.
FULLY_LIVE: Final = frozenset({S.LIVE, S.WATCHING})

# The share of the users that stays on the baseline until a deployment is done: without it nothing could be compared.
HOLD_BACK_PERCENT: Final = 5
MAX_PERCENT: Final = 100 - HOLD_BACK_PERCENT
MAX_STEPS: Final = 10
MAX_STEP_SECONDS: Final = 7 * 86_400
# Shares are kept in hundredths of a percent.
BUCKETS: Final = 10_000


@dataclass(frozen=True, slots=True)
class PlanStep:
    """`percent` of the users get the candidate in their new sessions, for `seconds` at least."""

    percent: int
    seconds: int


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """The steps of `canary`, by growing shares; then how long `watching` lasts. A step with fewer turns of the
    candidate than `minimum_turns`, or fewer users than `minimum_users`, does not end."""

    steps: tuple[PlanStep, ...] = (PlanStep(5, 600), PlanStep(25, 600))
    watch_seconds: int = 600
    minimum_turns: int = 50
    minimum_users: int = 10

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> DeploymentPlan:
        """The plan in a row. Raises `InvalidInput` with a pointer for what is none."""
        if not isinstance(stored, Mapping) or (extra := stored.keys() - DeploymentPlan.__slots__):
            raise InvalidInput("A plan has steps, watch_seconds, minimum_turns and minimum_users.", pointer="/plan")
        del extra
        default = DEFAULT_PLAN
        return cls(
            steps=_parse_steps(stored["steps"]) if "steps" in stored else default.steps,
            watch_seconds=_number(stored, "watch_seconds", default.watch_seconds, MAX_STEP_SECONDS),
            minimum_turns=_number(stored, "minimum_turns", default.minimum_turns, 1_000_000),
            minimum_users=_number(stored, "minimum_users", default.minimum_users, 100_000),
        )

    def dump(self) -> dict[str, Any]:
        """As a row keeps it, and `parse` reads it."""
        return {
            "steps": [{"percent": step.percent, "seconds": step.seconds} for step in self.steps],
            "watch_seconds": self.watch_seconds,
            "minimum_turns": self.minimum_turns,
            "minimum_users": self.minimum_users,
        }

    @property
    def phases(self) -> int:
        """How many comparisons one deployment makes: one in each step, and one while the candidate is live."""
        return len(self.steps) + 1


def _parse_steps(stored: Any) -> tuple[PlanStep, ...]:
    if not isinstance(stored, Sequence) or isinstance(stored, str) or not 1 <= len(stored) <= MAX_STEPS:
        raise InvalidInput(f"A plan has 1 to {MAX_STEPS} steps.", pointer="/plan/steps")
    steps: list[PlanStep] = []
    for index, row in enumerate(stored):
        pointer = f"/plan/steps/{index}"
        if not isinstance(row, Mapping) or row.keys() != {"percent", "seconds"}:
            raise InvalidInput("A step has percent and seconds.", pointer=pointer)
        percent = _number(row, "percent", 0, MAX_PERCENT, pointer=f"{pointer}/percent", least=1)
        if steps and percent <= steps[-1].percent:
            raise InvalidInput("Each step has a larger share than the one before.", pointer=f"{pointer}/percent")
        steps.append(PlanStep(percent, _number(row, "seconds", 0, MAX_STEP_SECONDS, pointer=f"{pointer}/seconds")))
    return tuple(steps)


def _number(
    stored: Mapping[str, Any], name: str, default: int, largest: int, *, pointer: str = "", least: int = 0
) -> int:
    value = stored.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= largest:
        raise InvalidInput(f"{name} is a whole number from {least} to {largest}.", pointer=pointer or f"/plan/{name}")
    return value


DEFAULT_PLAN: Final = DeploymentPlan()


def candidate_percent(state: DeploymentState, plan: DeploymentPlan, step: int) -> int:
    """The share of the users whose new sessions get the candidate, in a state of `plan`; `step` counts from 0."""
    if state in FULLY_LIVE:
        return MAX_PERCENT
    return plan.steps[min(step, len(plan.steps) - 1)].percent if state is S.CANARY else 0


def user_bucket(salt: UUID, key: str) -> int:
    """The bucket, from 0 to `BUCKETS` - 1, of whoever `key` names: the same at each call, evenly spread, and with
    another `salt` independent of it. The digest is SHA-256 of both."""
    digest = hashlib.sha256(salt.bytes + key.encode()).digest()
    return int.from_bytes(digest[:8]) % BUCKETS


def gets_candidate(salt: UUID, key: str, percent: int) -> bool:
    """Whether `key` is in the first `percent` of the buckets. Who gets the candidate at one share gets it at each
    larger one; the hold-back is the last buckets, which never get it."""
    return user_bucket(salt, key) < percent * BUCKETS // 100
