"""The code speaks the field's language: the figures of `tests.support.vocabulary` stay where they are."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.vocabulary import RETIRED_WORDS, measure, shared_class_names, shared_module_names, sources

# Figures of the design page on the house; the field's own codebases have 0 to 2, and 0 to 1.8 %.
MOST_ODD_PER_THOUSAND = 5.0
MOST_PREPOSITION_PERCENT = 1.5

# Module names that several packages share, by the reason.
_SHARED_MODULES = {
    "Django looks for this name, or everybody does": "apps models tasks urls views",
    "ours in each app, which registers what it declares": "health_checks role_permissions",
    "the errors of one package": "errors",
    "a noun, in the layers that have it: rows, verbs, console, REST, schema": (
        "agents alert_rules alerts api_keys approvals audit budgets bulk_actions channels deployments evaluation_runs "
        "evaluations events feedback groups "
        "handoffs me memories messages prices "
        "notifications recommendations rollups routes runners sessions silences steps test_sets turn_schedules turns "
        "users "
        "utility_calls"
    ),
    "a verb of sessions, and its endpoint": "export fork",
    "the one door to the objects of people, in each room": "access",
    "the same part of each provider of models": "adapter error_mapping request",
    "a pure rule, and the engine's use of it": "prompt",
    "the tool is called so, and people choose it by name": "clock",
    "what is read, and the command that prints it": "alerts figures",
    "the environment's, and a vendor's part of it": "config",
    "the port of a package that has several adapters": "interface",
    "the reads of one package's rows": "reading",
}
_SHARED_CLASSES = {
    "Command": "Django looks for this name",
    "ToolFailed": "an event, and the error class of the same code",
}


def test_a_module_name_that_packages_share_has_a_reason() -> None:
    allowed = {name for names in _SHARED_MODULES.values() for name in names.split()}
    assert {name: files for name, files in shared_module_names().items() if name not in allowed} == {}


def test_a_class_name_that_modules_share_has_a_reason() -> None:
    assert {name: files for name, files in shared_class_names().items() if name not in _SHARED_CLASSES} == {}


def test_no_reason_is_left_for_a_name_that_is_not_shared() -> None:
    allowed = {name for names in _SHARED_MODULES.values() for name in names.split()}
    assert allowed - set(shared_module_names()) == set()
    assert set(_SHARED_CLASSES) - set(shared_class_names()) == set()


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
