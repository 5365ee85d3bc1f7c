"""One logger, and one grammar of what it says: a noun and a verb in the past, in lower case."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.surroundings import ROOT

PARTS = ("agents", "memory", "monitoring", "platform")
MODULES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py") if "migrations" not in path.parts)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
# Sets up what libraries log.
SETUP = ROOT / "platform" / "bandstand" / "logs.py"

METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
EVENT = re.compile(r"[a-z]+(?:_[a-z]+)*\.(?:not_)?(?P<verb>[a-z]+)")
IRREGULAR = {
    "begun",
    "broken",
    "forgotten",
    "found",
    "held",
    "lost",
    "overdrawn",
    "sent",
    "taken",
    "withdrawn",
    "written",
}
NAMED = re.compile(r"`([a-z_]+)\.([a-z_]+)`")


@cache
def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def says_what_happened(event: str) -> bool:
    match = EVENT.fullmatch(event)
    return match is not None and (match["verb"].endswith("ed") or match["verb"] in IRREGULAR)


def loggers(tree: ast.Module) -> set[str]:
    """The names that a module gives to loggers."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and "get_logger" in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def log_calls(tree: ast.Module) -> Iterator[ast.Call]:
    names = loggers(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if (
                name in names and method in METHODS
            ):
                yield node


def event_of(call: ast.Call) -> str:
    """The name of the event; "" where it is put together, or something stands beside it."""
    match call.args:
        case [ast.Constant(value=str(event))]:
            return event
    return ""


@cache
def events() -> set[str]:
    return {event_of(call) for module in MODULES for call in log_calls(tree_of(module))}


def imports(module: Path) -> set[str]:
    """The modules that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


@cache
def words() -> set[str]:
    """Every string that stands in the code as a whole."""
    constants = (node for module in MODULES for node in ast.walk(tree_of(module)) if isinstance(node, ast.Constant))
    return {node.value for node in constants if isinstance(node.value, str)}


def test_every_event_is_a_noun_and_a_verb_in_the_past() -> None:
    calls = [(module, call) for module in MODULES for call in log_calls(tree_of(module))]
    assert len(calls) > 50
    wrong = [
        f"{module.relative_to(ROOT)}:{call.lineno}" for module, call in calls if not says_what_happened(event_of(call))
    ]
    assert wrong == []


@pytest.mark.parametrize("event", ["turn.failed", "api_key.revoked", "mail.sent", "turn.not_reaped", "job.not_found"])
def test_the_grammar_knows(event: str) -> None:
    assert says_what_happened(event)


@pytest.mark.parametrize(
    "event", ["", "turn_failed", "turn.Failed", "turn.fail", "price.unknown", "a.b.ended", "Turn.ended"]
)
def test_the_grammar_refuses(event: str) -> None:
    assert not says_what_happened(event)


def test_nobody_logs_past_the_one_logger() -> None:
    past = [str(module.relative_to(ROOT)) for module in MODULES if module != SETUP and "logging" in imports(module)]
    assert past == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_documents_name_events_that_exist(document: Path) -> None:
    """A name after the noun of an event is one of ours: in the log, on the wire or in the audit trail."""
    nouns = {event.partition(".")[0] for event in events()}
    named = {".".join(pair) for pair in NAMED.findall(document.read_text(encoding="utf-8")) if pair[0] in nouns}
    assert named <= words()
