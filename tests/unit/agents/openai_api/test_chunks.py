"""The usage of a completion."""

import pytest

from agents.domain.states import TurnStatus
from agents.openai_api.chunks import usage
from agents.sessions import CompletionResult


def result(into: int | None, out: int | None) -> CompletionResult:
    return CompletionResult(
        TurnStatus.COMPLETED,
        "Hi",
        "",
        [],
        cut=False,
        input_tokens=into,
        output_tokens=out,
        error=None,
        cached_tokens=2,
        reasoning_tokens=4,
    )


def test_known_usage_has_the_details_of_openai() -> None:
    assert usage(result(10, 5)) == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }


@pytest.mark.parametrize(("into", "out"), [(None, None), (1, None), (None, 1)])
def test_unknown_usage_is_null(into: int | None, out: int | None) -> None:
    assert usage(result(into, out)) is None
