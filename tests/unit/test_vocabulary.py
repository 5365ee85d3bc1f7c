"""The code speaks the field's language: the figures of `tests.support.vocabulary` stay where they are."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.vocabulary import RETIRED_WORDS, measure, sources

# Figures of the design page on the house; the field's own codebases have 0 to 2, and 0 to 1.8 %.
MOST_ODD_PER_THOUSAND = 5.0
MOST_PREPOSITION_PERCENT = 1.5


def test_names_are_nouns_and_verbs_of_the_field() -> None:
    counted = measure()
    assert counted.odd_per_thousand <= MOST_ODD_PER_THOUSAND, counted.odd
    assert counted.preposition_percent <= MOST_PREPOSITION_PERCENT, counted.prepositions


def test_no_module_class_or_public_function_bears_a_retired_word() -> None:
    hits = [
        (str(path), name)
        for path in sources()
        for name in [path.stem, *public_names(path.read_text(encoding="utf-8"))]
        if words_of(name) & RETIRED_WORDS
    ]
    assert hits == []


def public_names(source: str) -> list[str]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, kinds) and node.name[0] != "_"]


def words_of(name: str) -> set[str]:
    """The words of a name in either spelling: `AgentSieve` and `agent_sieve` are {agent, sieve}."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("name", ["AgentSieve", "agent_sieve", "SIEVE"])
def test_a_retired_word_is_found_in_every_spelling(name: str) -> None:
    assert "sieve" in words_of(name)
