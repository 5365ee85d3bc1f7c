"""The classes of errors have one home, and whoever speaks of them keeps to it."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from agents.admin import evaluation_runs, turn_actions, turns
from agents.api.schema.turns import COMPONENTS
from agents.domain import budgets, evaluations, failures
from agents.domain.failures import ERROR_CLASSES, SILENT_CLASSES, ErrorClass, parse_error_class
from agents.domain.serialization import retry_suggested
from agents.domain.states import StepStatus, TurnStatus
from agents.llm.errors import BY_CLASS
from agents.llm.openai import error_mapping as openai_refusals
from agents.llm.openai import finish_reasons
from agents.llm.openai import stream_parser as openai_answer
from agents.llm.pydantic_ai import answer as vendors_answer
from agents.models import Step, Turn
from agents.sessions import bulk_actions
from tests.support.literals import literals
from tests.support.surroundings import ROOT

GUIDE = ROOT / "docs" / "console.md"
# What clients of `/v1` have been told for each: status and code, and what all are told: whether a retry may help.
PUBLISHED = {
    "transient": (502, "transient", True),
    "rate_limit": (429, "model_rate_limit", True),
    "context_length": (400, "context_length_exceeded", False),
    "content_filter": (400, "content_filter", False),
    "auth": (502, "auth", False),
    "bad_request": (502, "bad_request", False),
    "tool_error": (500, "tool_error", False),
    "limit_reached": (500, "limit_reached", False),
    "budget_exceeded": (429, "insufficient_quota", False),
    "price_unknown": (502, "price_unknown", False),
    "worker_crashed": (500, "worker_crashed", True),
    "set_aside": (409, "set_aside", False),
    "deadline": (504, "deadline", False),
    "unknown": (500, "unknown", True),
    "cancelled": (409, "turn_cancelled", False),
}
# States of turns and steps, of which some are called like a class.
STATES = {*TurnStatus, *StepStatus}
# The same words in another vocabulary: an operator's act, a provider's mark, why a budget gives nothing.
ELSEWHERE: dict[str, tuple[ModuleType, ...]] = {
    "set_aside": (turn_actions, turns, bulk_actions),
    "content_filter": (openai_answer, finish_reasons, openai_refusals, vendors_answer),
    "rate_limit": (openai_refusals,),
    "price_unknown": (budgets,),
    # A lane of an evaluation has the state of that name.
    "diverged": (evaluations, evaluation_runs),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_clients_know_of_a_class_stays(name: str) -> None:
    known = ErrorClass(name)
    assert (known.failure.status, known.code, retry_suggested(name)) == PUBLISHED[name]


@pytest.mark.parametrize("error_class", ErrorClass)
def test_every_class_says_what_happened_and_what_to_do_and_fits_its_column(error_class: ErrorClass) -> None:
    failure = error_class.failure
    assert all(text.endswith((".", "?")) for text in (failure.meaning, failure.user_message, failure.remedy))
    assert 400 <= failure.status < 600
    for model in (Turn, Step):
        assert len(error_class) <= (model._meta.get_field("error_class").max_length or 0)


def test_a_class_that_nobody_knows_is_no_class() -> None:
    assert parse_error_class("deadline") is ErrorClass.DEADLINE
    assert [parse_error_class(name) for name in ("", "provider_down", "Deadline")] == [None] * 3
    assert not retry_suggested("provider_down")


def test_a_model_raises_every_class_that_may_be_recovered_from_and_no_other() -> None:
    assert set(BY_CLASS) == {error_class for error_class in ErrorClass if error_class.failure.recovery is not None}
    for error_class, kind in BY_CLASS.items():
        assert kind.code == f"model_{error_class}"


def test_only_what_operators_and_users_wanted_alarms_nobody() -> None:
    assert set(SILENT_CLASSES) == {"set_aside", "cancelled", "diverged"}


def test_the_console_and_the_schema_offer_what_there_is() -> None:
    assert set(ERROR_CLASSES) == set(ErrorClass) - {ErrorClass.CANCELLED}
    assert COMPONENTS["TurnError"]["properties"]["error_class"]["enum"] == list(ErrorClass)


def test_the_guide_lists_the_classes_as_they_are() -> None:
    lines = [
        f"| `{error_class}` | {failure.meaning} | {failure.remedy} | {'yes' if failure.retry_suggested else ''} "
        f"| {failure.status} `{error_class.code}` |"
        for error_class in ErrorClass
        for failure in [error_class.failure]
    ]
    [chapter] = re.findall(r"^### What an error means\n(.*?)^#", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    table = [line.replace("|  |", "| |") for line in lines]
    shown = [line for line in chapter.splitlines() if line.startswith("| `")]
    assert shown == table, "the lines are to be:\n" + "\n".join(table)


def test_nobody_else_writes_the_name_of_a_class() -> None:
    names = set(ErrorClass)
    written = [
        literal
        for literal in literals()
        if literal.word in names - STATES and not literal.stands_in(failures, *ELSEWHERE.get(literal.word, ()))
    ]
    assert not written, "\n".join(map(str, written))
