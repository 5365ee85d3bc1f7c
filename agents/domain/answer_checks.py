"""What is expected of an answer, by rule: each kind declared once, with its parsing, its words and its judgement.

In a row a check is `{"kind": "contains", "value": "42"}`; what `value` is depends on the kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents.domain.argument_schemas import argument_problems, check_pattern, check_schema, matches_pattern
from foundation.errors import InvalidInput

MAX_CHECKS: Final = 20
MAX_TEXT: Final = 2_000
# Patterns are matched in linear time; no longer answer is looked at.
MAX_MATCHED: Final = 50_000
# In an answer whose JSON is checked.
MAX_VALUES: Final = 10_000
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class CalledTool:
    """A call that was made; `arguments` are JSON as the model wrote them."""

    name: str
    arguments: str
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """An answer with what it took; `cost_usd` None: nobody knows."""

    text: str
    calls: Sequence[CalledTool] = ()
    seconds: float = 0.0
    cost_usd: float | None = 0.0


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """One check; `value` is as its kind parses it."""

    kind: str
    value: Any = None

    @property
    def label(self) -> str:
        """What is expected, in words."""
        return CHECK_KINDS[self.kind].describe(self.value)

    def dump(self) -> dict[str, Any]:
        """As a row keeps it."""
        return {"kind": self.kind} if self.value is None else {"kind": self.kind, "value": self.value}


@dataclass(frozen=True, slots=True)
class AnswerCheckOutcome:
    """`detail` says what was found instead; "" for a check that has passed."""

    label: str
    passed: bool
    detail: str = ""

    def dump(self) -> dict[str, Any]:
        """As a row keeps it."""
        return {"check": self.label, "passed": self.passed} | ({"detail": self.detail} if self.detail else {})


@dataclass(frozen=True, slots=True)
class CheckKind:
    """`parse(value, pointer)` returns the value or raises `InvalidInput`; `problem(value, observed)` says what is wrong
    with an answer, "" for nothing. `title` and `hint` are for the form; `takes_value`: there is something to enter."""

    title: str
    hint: str
    parse: Callable[[Any, str], Any]
    describe: Callable[[Any], str]
    problem: Callable[[Any, Observed], str]
    takes_value: bool = True


def parse_checks(stored: Any, pointer: str = "/checks") -> tuple[AnswerCheck, ...]:
    """The checks in a row or a request. Raises `InvalidInput` with a pointer."""
    if not isinstance(stored, Sequence) or isinstance(stored, str) or len(stored) > MAX_CHECKS:
        raise InvalidInput(f"A list of at most {MAX_CHECKS} checks is expected.", pointer=pointer)
    return tuple(_parse(row, f"{pointer}/{index}") for index, row in enumerate(stored))


def evaluate_checks(checks: Sequence[AnswerCheck], observed: Observed) -> list[AnswerCheckOutcome]:
    """What becomes of each check."""
    outcomes = []
    for check in checks:
        problem = CHECK_KINDS[check.kind].problem(check.value, observed)
        outcomes.append(AnswerCheckOutcome(check.label, not problem, problem))
    return outcomes


def _parse(row: Any, pointer: str) -> AnswerCheck:
    if not isinstance(row, Mapping) or row.keys() - {"kind", "value"}:
        raise InvalidInput("A check has a kind and a value.", pointer=pointer)
    kind = CHECK_KINDS.get(row.get("kind", ""))
    if kind is None:
        raise InvalidInput(f"A kind is one of {', '.join(CHECK_KINDS)}.", pointer=f"{pointer}/kind")
    if not kind.takes_value and row.get("value") is not None:
        raise InvalidInput("This kind of check takes no value.", pointer=f"{pointer}/value")
    return AnswerCheck(row["kind"], kind.parse(row.get("value"), f"{pointer}/value"))


def _parse_text(value: Any, pointer: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        raise InvalidInput(f"Text of 1 to {MAX_TEXT:,} characters is expected.", pointer=pointer)
    return value


def _parse_pattern(value: Any, pointer: str) -> str:
    check_pattern(value, pointer)
    return _parse_text(value, pointer)


def _parse_schema(value: Any, pointer: str) -> Mapping[str, Any]:
    check_schema(value, pointer)
    schema: Mapping[str, Any] = value
    return schema


def _parse_call(value: Any, pointer: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or value.keys() - {"name", "arguments"}:
        raise InvalidInput("A call has a name, and arguments that it must have.", pointer=pointer)
    arguments = value.get("arguments", {})
    if not isinstance(arguments, Mapping) or len(json.dumps(arguments)) > MAX_TEXT:
        raise InvalidInput("Arguments are a small object.", pointer=f"{pointer}/arguments")
    return {"name": _parse_text(value.get("name"), f"{pointer}/name"), "arguments": dict(arguments)}


def _parse_number(value: Any, pointer: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1_000_000:
        raise InvalidInput("A number above 0 is expected.", pointer=pointer)
    return value


def _parse_nothing(value: Any, pointer: str) -> None:  # noqa: ARG001 - there is none
    return None


def _missing(value: str, observed: Observed) -> str:
    return "" if value.casefold() in observed.text.casefold() else "It is not in the answer."


def _present(value: str, observed: Observed) -> str:
    return "It is in the answer." if value.casefold() in observed.text.casefold() else ""


def _unmatched(value: str, observed: Observed) -> str:
    if len(observed.text) > MAX_MATCHED:
        return f"An answer of more than {MAX_MATCHED:,} characters is not looked at."
    return "" if matches_pattern(value, observed.text, longest=MAX_MATCHED) else "The answer does not match."


def _unfit(value: Mapping[str, Any], observed: Observed) -> str:
    text = observed.text.strip()
    if text.startswith("```"):
        # Models like to put JSON into a block of code.
        text = text.partition("\n")[2].rpartition("```")[0]
    try:
        answer = json.loads(text)
    except ValueError:
        return "The answer is no JSON."
    schema = {"properties": {"answer": value}, "required": ["answer"]}
    return "; ".join(argument_problems(schema, {"answer": answer}, max_values=MAX_VALUES))


def _uncalled(value: Mapping[str, Any], observed: Observed) -> str:
    calls = [call for call in observed.calls if call.name == value["name"]]
    if any(_has_arguments(call, value["arguments"]) for call in calls):
        return ""
    if calls:
        return f"It was called with {calls[-1].arguments[:_SHOWN]}."
    others = sorted({call.name for call in observed.calls})
    return f"It was not called; {', '.join(others)} was." if others else "No tool was called."


def _has_arguments(call: CalledTool, expected: Mapping[str, Any]) -> bool:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        return not expected
    return isinstance(arguments, dict) and all(
        name in arguments and arguments[name] == value for name, value in expected.items()
    )


def _written(value: None, observed: Observed) -> str:  # noqa: ARG001 - there is none
    names = sorted({call.name for call in observed.calls if call.writes})
    return f"It called {', '.join(names)}." if names else ""


def _late(value: float, observed: Observed) -> str:
    return "" if observed.seconds <= value else f"It took {observed.seconds:.1f} s."


def _dear(value: float, observed: Observed) -> str:
    if observed.cost_usd is None:
        return "Nobody knows what it cost."
    return "" if observed.cost_usd <= value else f"It cost ${observed.cost_usd:.6f}."


def _quote(value: str) -> str:
    return f"“{value[:_SHOWN]}”"


def _describe_call(value: Mapping[str, Any]) -> str:
    arguments = ", ".join(f"{name}={json.dumps(item)}" for name, item in value["arguments"].items())
    return f"calls {value['name']}" + (f" with {arguments}" if arguments else "")


CHECK_KINDS: Final[Mapping[str, CheckKind]] = {
    "contains": CheckKind(
        "Contains", "These words, whatever their case.", _parse_text, lambda v: f"contains {_quote(v)}", _missing
    ),
    "not_contains": CheckKind(
        "Does not contain", "These words.", _parse_text, lambda v: f"does not contain {_quote(v)}", _present
    ),
    "regex": CheckKind(
        "Matches", "A regular expression, found anywhere.", _parse_pattern, lambda v: f"matches {_quote(v)}", _unmatched
    ),
    "json_schema": CheckKind(
        "Is JSON of a schema", "A JSON Schema.", _parse_schema, lambda _: "is JSON of the schema", _unfit
    ),
    "tool_called": CheckKind(
        "Calls a tool",
        '{"name": "…", "arguments": {…}}; it may have further arguments.',
        _parse_call,
        _describe_call,
        _uncalled,
    ),
    "no_writing_tool": CheckKind(
        "Calls no tool that writes",
        "None that changes or sends something.",
        _parse_nothing,
        lambda _: "calls no tool that writes",
        _written,
        takes_value=False,
    ),
    "max_seconds": CheckKind("Takes at most", "Seconds.", _parse_number, lambda v: f"takes at most {v} s", _late),
    "max_cost_usd": CheckKind("Costs at most", "US dollars.", _parse_number, lambda v: f"costs at most ${v}", _dear),
}
