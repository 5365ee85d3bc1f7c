"""The table of parameters: complete, and the same in the code, in the documents and in what happens."""

import re
from typing import Any

import pytest
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from agents.openai_api.supported_parameters import (
    PARAMETERS,
    Treatment,
    UnknownParameter,
    UnsupportedParameter,
    check_parameters,
)
from tests.support.surroundings import ROOT

PAGE = ROOT / "docs" / "openai.md"
_ROW = re.compile(r"^\| `([a-z_]+)` \| (honoured|ignored|refused) \|", re.MULTILINE)

# Something that asks for what is refused, and what asks for nothing.
REFUSED: dict[str, tuple[Any, Any]] = {
    "n": (2, 1),
    "logprobs": (True, False),
    "top_logprobs": (3, 0),
    "logit_bias": ({"50256": -100}, {}),
    "modalities": (["text", "audio"], ["text"]),
    "audio": ({"voice": "alloy", "format": "mp3"}, None),
    "functions": ([{"name": "f"}], []),
    "function_call": ("auto", "none"),
    "web_search_options": ({}, None),
    "moderation": ({"model": "omni-moderation-latest"}, None),
}


def test_every_parameter_that_the_package_knows_has_its_line() -> None:
    known = {*CompletionCreateParamsNonStreaming.__annotations__, *CompletionCreateParamsStreaming.__annotations__}
    assert known <= set(PARAMETERS)


def test_the_documented_table_is_that_of_the_code() -> None:
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(rows) == len(dict(rows)), "each once"
    assert dict(rows) == {name: treatment.value for name, treatment in PARAMETERS.items()}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_null_asks_for_nothing(name: str) -> None:
    check_parameters({name: None})


@pytest.mark.parametrize("name", sorted(name for name, how in PARAMETERS.items() if how is Treatment.REFUSED))
def test_what_is_refused_says_so_unless_it_asks_for_nothing(name: str) -> None:
    asks, nothing = REFUSED[name]
    check_parameters({name: nothing})
    with pytest.raises(UnsupportedParameter) as refused:
        check_parameters({name: asks})
    assert refused.value.pointer == f"/{name}"


@pytest.mark.parametrize("name", sorted(name for name, how in PARAMETERS.items() if how is Treatment.IGNORED))
def test_what_is_ignored_is_not_looked_at(name: str) -> None:
    check_parameters({name: ["anything", {"at": "all"}]})


@pytest.mark.parametrize("value", [True, 1.0, "1"])
def test_a_value_of_another_type_is_another_value(value: Any) -> None:
    with pytest.raises(UnsupportedParameter):
        check_parameters({"n": value})


def test_what_nobody_knows_is_refused_by_its_name() -> None:
    with pytest.raises(UnknownParameter) as refused:
        check_parameters({"temperature": 1, "mystery": 1})
    assert refused.value.pointer == "/mystery"
