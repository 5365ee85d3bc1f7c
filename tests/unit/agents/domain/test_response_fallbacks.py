"""Which fallback comes next when no model of the chain has answered."""

from __future__ import annotations

import pytest

from agents.domain.failures import ErrorClass
from agents.domain.response_fallbacks import FALLBACK_NOTES, Fallback, FallbackSituation, falls_back, next_fallback

ALL = tuple(Fallback)
CACHED, SIMPLER, PERSON, ERROR = ALL


def all_tried(order: tuple[str, ...], **situation: bool) -> list[Fallback]:
    """The fallbacks one after the other, as if each gave nothing."""
    tried: list[Fallback] = []
    while name := next_fallback(order, "transient", FallbackSituation(tried, **situation)):
        tried.append(name)
    return tried


def test_without_an_order_there_is_the_error() -> None:
    assert next_fallback((), "transient") is None
    assert next_fallback((ERROR,), "transient") is None


def test_they_are_tried_in_the_order_of_the_release_each_once() -> None:
    assert all_tried(ALL) == [CACHED, SIMPLER, PERSON]
    assert all_tried((SIMPLER, CACHED)) == [SIMPLER, CACHED]


def test_nothing_is_tried_after_the_error() -> None:
    assert all_tried((CACHED, ERROR, PERSON)) == [CACHED]


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        ("has_results", [SIMPLER, PERSON]),
        ("brings_results", [CACHED, PERSON]),
        ("must_call", [CACHED]),
        ("must_be_json", [CACHED, SIMPLER]),
    ],
)
def test_one_that_would_give_something_else_than_was_asked_for_is_passed_over(
    situation: str, expected: list[Fallback]
) -> None:
    assert all_tried(ALL, **{situation: True}) == expected


@pytest.mark.parametrize("error_class", ["transient", "rate_limit", "auth", "bad_request", "context_length", "unknown"])
def test_what_a_model_failed_with_falls_back(error_class: str) -> None:
    assert next_fallback(ALL, error_class) is CACHED


@pytest.mark.parametrize("error_class", ["content_filter", "cancelled", "tool_error", "limit_reached", "deadline", ""])
def test_a_refusal_and_what_was_no_failure_of_a_model_do_not(error_class: str) -> None:
    assert not falls_back(error_class)
    assert next_fallback(ALL, error_class) is None


def test_every_class_is_decided() -> None:
    assert {name for name in ErrorClass if falls_back(name)} == {
        ErrorClass.TRANSIENT, ErrorClass.RATE_LIMIT, ErrorClass.CONTEXT_LENGTH, ErrorClass.EMPTY_ANSWER,
        ErrorClass.AUTH, ErrorClass.BAD_REQUEST, ErrorClass.UNKNOWN,
        ErrorClass.BUDGET_EXCEEDED, ErrorClass.PRICE_UNKNOWN,
    }  # fmt: skip


def test_people_read_a_note_beside_all_but_the_error() -> None:
    assert set(FALLBACK_NOTES) == {*Fallback} - {Fallback.ERROR_RESPONSE}
