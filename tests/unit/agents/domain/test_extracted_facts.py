"""The answer of a model that looks for facts is read strictly: anything else than what was asked for is dropped."""

from __future__ import annotations

import pytest

from agents.domain.extracted_facts import ExtractedFact, extraction_instructions, parse_facts
from foundation.errors import BandstandError

GOOD = '{"facts": [{"text": " Ada lives in Bern. ", "slot": "home_city", "situations": ["planning a visit"]}]}'


@pytest.mark.parametrize("text", [GOOD, f"```json\n{GOOD}\n```", f"\n```\n{GOOD}\n```\n"])
def test_facts_are_read_with_and_without_a_fence(text: str) -> None:
    assert parse_facts(text) == [ExtractedFact("Ada lives in Bern.", "home_city", ("planning a visit",))]


def test_nothing_to_list_is_an_answer() -> None:
    assert parse_facts('{"facts": []}') == []
    assert parse_facts('{"facts": [{"text": "Ada likes tea."}]}') == [ExtractedFact("Ada likes tea.")]


@pytest.mark.parametrize(
    "text",
    [
        "", "Sure! Here are the facts.", "[]", "{}", '{"facts": {}}', '{"facts": ["Ada"]}', '{"facts": [{}]}',
        '{"facts": [{"text": ""}]}', '{"facts": [{"text": 7}]}', '{"facts": [{"text": "a", "trust": 3}]}',
        '{"facts": [{"text": "a", "slot": 7}]}', '{"facts": [{"text": "a", "situations": "b"}]}',
        '{"facts": [{"text": "a", "situations": ["b", "c", "d", "e"]}]}', '{"facts": [{"text": "' + "a" * 501 + '"}]}',
        '{"facts": [' + ", ".join(['{"text": "a"}'] * 4) + "]}", '{"facts": [{"text": "a\\u0000"}]}',
        GOOD + " I hope that helps.",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BandstandError):
        parse_facts(text)


def test_the_instructions_name_the_user_and_the_facts_that_exist() -> None:
    text = extraction_instructions("Ada {L}", ["home_city", "pet"])
    assert "home_city, pet" in text
    assert "Ada {L}" in text
    assert "These exist" not in extraction_instructions("Ada", [])
