"""Test sets: create, change and delete one, add turns to it as entries, change and remove these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, Max

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.domain.answer_checks import parse_checks
from agents.domain.evaluations import RunState
from agents.evaluations.turn_recordings import record_turn
from agents.llm.routes import route_error
from agents.models import Agent, TestCase, TestSet, Turn
from agents.permissions.role_permissions import CHANGE_TEST_SET
from agents.permissions.transcripts import require_transcript
from foundation.errors import BandstandError, Conflict, InvalidInput, NotFound, PreconditionFailed
from foundation.names import clean_name

MAX_ENTRIES: Final = 1_000
MAX_SETS: Final = 100
MAX_RUBRIC: Final = 5_000
MAX_JUDGES: Final = 5
MAX_COST_USD: Final = Decimal(10_000)
_REASONS: Final = 5


@dataclass(slots=True)
class AddedTurns:
    """How many turns became entries; `refused` says why others did not, with how many."""

    added: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@transaction.atomic
def create_test_set(actor: Actor, *, agent_id: UUID, name: str, values: Mapping[str, Any] | None = None) -> TestSet:
    """A new set of an agent. `values` as for `change_test_set`. Raises `Forbidden`, `NotFound`, `InvalidInput` with a
    pointer, and `Conflict` for a name that the agent has a set of."""
    require_permission(actor, CHANGE_TEST_SET)
    agent = Agent.objects.select_for_update(no_key=True).filter(pk=agent_id).first()
    if agent is None:
        raise NotFound("There is no such agent here.")
    if agent.test_sets.count() >= MAX_SETS:
        raise Conflict(f"An agent has at most {MAX_SETS} test sets.")
    name = clean_name(name)
    if agent.test_sets.filter(name=name).exists():
        raise Conflict("This agent has a test set of this name.")
    test_set = TestSet.objects.create(agent=agent, name=name, created_by_id=actor.user_id, **_clean(values or {}))
    record_audit(actor, "test_set.created", target=test_set, detail={"agent": agent.slug})
    return test_set


@transaction.atomic
def change_test_set(actor: Actor, *, test_set_id: UUID, expected_version: int, values: Mapping[str, Any]) -> TestSet:
    """Change name, description, checks, rubric, judge_chain or max_cost_usd of a set, and return it. Raises
    `Forbidden`, `NotFound`, `PreconditionFailed`, `InvalidInput` with a pointer, and `Conflict` for a name that the
    agent has another set of."""
    require_permission(actor, CHANGE_TEST_SET)
    test_set = _lock(test_set_id)
    if test_set.version != expected_version:
        raise PreconditionFailed
    changed = {name: value for name, value in _clean(values).items() if getattr(test_set, name) != value}
    if not changed:
        return test_set
    for name, value in changed.items():
        setattr(test_set, name, value)
    test_set.version += 1
    try:
        with transaction.atomic():
            test_set.save(update_fields=[*changed, "version"])
    except IntegrityError:
        raise Conflict("This agent has a test set of this name.") from None
    record_audit(actor, "test_set.changed", target=test_set, detail={"fields": sorted(changed)})
    return test_set


@transaction.atomic
def delete_test_set(actor: Actor, *, test_set_id: UUID) -> None:
    """Delete a set with its entries and runs. Raises `Forbidden`, `NotFound`, and `Conflict` while one of its runs is
    under way."""
    require_permission(actor, CHANGE_TEST_SET)
    test_set = _lock(test_set_id)
    if test_set.runs.filter(state=RunState.RUNNING).exists():
        raise Conflict("One of its runs is under way. Stop that first.")
    record_audit(actor, "test_set.deleted", target=test_set, detail={"entries": test_set.cases.count()})
    test_set.delete()


def add_turns(actor: Actor, *, test_set_id: UUID, turn_ids: Sequence[UUID]) -> AddedTurns:
    """Make turns into entries of a set; each is copied by a transaction of its own. A turn that is one already is
    refused, and so is one of another agent. Raises `Forbidden`, also for who may not read the conversations of the
    agent, `NotFound`, and `Conflict` for a set that is full."""
    require_permission(actor, CHANGE_TEST_SET)
    test_set = TestSet.objects.select_related("agent").filter(pk=test_set_id).first()
    if test_set is None:
        raise NotFound("There is no such test set here.")
    require_transcript(actor, test_set.agent)
    result = AddedTurns()
    for turn_id in turn_ids:
        try:
            _add_turn(actor, test_set, turn_id)
        except BandstandError as error:
            result.refused[error.detail] += 1
        else:
            result.added += 1
    if result.added:
        record_audit(actor, "test_set.extended", target=test_set, detail={"entries": result.added})
    return result


@transaction.atomic
def change_case(actor: Actor, *, case_id: UUID, checks: Any, rubric: str) -> TestCase:
    """Change what is expected of an entry, and return it. Raises `Forbidden`, `NotFound`, and `InvalidInput` with a
    pointer."""
    require_permission(actor, CHANGE_TEST_SET)
    case = TestCase.objects.select_related("test_set__agent").filter(pk=case_id).first()
    if case is None:
        raise NotFound("There is no such entry here.")
    require_transcript(actor, case.test_set.agent)
    values = _clean({"checks": checks, "rubric": rubric})
    if (case.checks, case.rubric) != (values["checks"], values["rubric"]):
        TestCase.objects.filter(pk=case_id).update(**values)
        _touch(case.test_set_id)
        record_audit(actor, "test_set.entry_changed", target=case.test_set, detail={"entry": case.position})
    case.checks, case.rubric = values["checks"], values["rubric"]
    return case


@transaction.atomic
def remove_cases(actor: Actor, *, test_set_id: UUID, case_ids: Sequence[UUID]) -> int:
    """Remove entries of a set; returns how many. Raises `Forbidden`, `NotFound`, and `Conflict` while one of its runs
    is under way."""
    require_permission(actor, CHANGE_TEST_SET)
    test_set = _lock(test_set_id)
    if test_set.runs.filter(state=RunState.RUNNING).exists():
        raise Conflict("One of its runs is under way. Stop that first.")
    rows = test_set.cases.filter(pk__in=case_ids)
    removed = rows.count()
    if removed:
        rows.delete()
        _touch(test_set_id)
        record_audit(actor, "test_set.reduced", target=test_set, detail={"entries": removed})
    return removed


@transaction.atomic
def _add_turn(actor: Actor, test_set: TestSet, turn_id: UUID) -> None:
    locked = _lock(test_set.pk)
    turn = Turn.objects.select_related("agent_session").filter(pk=turn_id).first()
    if turn is None:
        raise NotFound("There is no such turn here.")
    if turn.agent_session.agent_id != test_set.agent_id:
        raise InvalidInput("It is a turn of another agent.")
    if locked.cases.filter(source_turn_id=turn_id).exists():
        raise Conflict("It is an entry already.")
    figures = locked.cases.aggregate(last=Max("position"))
    if locked.cases.count() >= MAX_ENTRIES:
        raise Conflict(f"A test set has at most {MAX_ENTRIES:,} entries.")
    recorded = record_turn(turn_id)
    TestCase.objects.create(
        test_set=locked,
        position=(figures["last"] or 0) + 1,
        source_turn_id=turn_id,
        user_id=turn.user_id,
        history=list(recorded.history),
        question=list(recorded.question),
        answer=list(recorded.answer),
        recording=recorded.recording.dump(),
        added_by_id=actor.user_id,
    )
    _touch(test_set.pk)


def _touch(test_set_id: UUID) -> None:
    TestSet.objects.filter(pk=test_set_id).update(version=F("version") + 1)


def _lock(test_set_id: UUID) -> TestSet:
    test_set = TestSet.objects.select_for_update(no_key=True, of=("self",)).filter(pk=test_set_id).first()
    if test_set is None:
        raise NotFound("There is no such test set here.")
    return test_set


def _clean(values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns for `values`. Raises `InvalidInput` with a pointer."""
    clean = dict(values)
    if "name" in clean:
        clean["name"] = clean_name(clean["name"])
    if "checks" in clean:
        clean["checks"] = [check.dump() for check in parse_checks(clean["checks"])]
    for name in ("rubric", "description"):
        if len(clean.get(name, "")) > MAX_RUBRIC:
            raise InvalidInput(f"At most {MAX_RUBRIC:,} characters.", pointer=f"/{name}")
    if "judge_chain" in clean:
        clean["judge_chain"] = list(clean["judge_chain"])
        if len(clean["judge_chain"]) > MAX_JUDGES:
            raise InvalidInput(f"At most {MAX_JUDGES} models judge.", pointer="/judge_chain")
        for index, route in enumerate(clean["judge_chain"]):
            if (fault := route_error(route)) is not None:
                raise InvalidInput(fault, pointer=f"/judge_chain/{index}")
    if "max_cost_usd" in clean and not 0 < clean["max_cost_usd"] <= MAX_COST_USD:
        raise InvalidInput(f"An amount from 0 to {MAX_COST_USD:,} is expected.", pointer="/max_cost_usd")
    return clean
