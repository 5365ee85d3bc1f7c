"""The checks of answers by rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.answer_checks import CHECK_KINDS, CalledTool, Observed, evaluate_checks, parse_checks
from foundation.errors import InvalidInput

ANSWER = Observed(
    text='The answer is 42.\nBuy now: {"a": 1}',
    calls=[CalledTool("search", '{"q": "x", "n": 3}'), CalledTool("send", "{}", writes=True)],
    seconds=2.5,
    cost_usd=0.01,
)


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("contains", "ANSWER is", ""),
        ("contains", "43", "It is not in the answer."),
        ("not_contains", "43", ""),
        ("not_contains", "buy NOW", "It is in the answer."),
        ("regex", r"\b4\d\b", ""),
        ("regex", r"^\d", "The answer does not match."),
        ("tool_called", {"name": "search"}, ""),
        ("tool_called", {"name": "search", "arguments": {"n": 3}}, ""),
        ("tool_called", {"name": "search", "arguments": {"n": 4}}, 'It was called with {"q": "x", "n": 3}.'),
        ("tool_called", {"name": "buy"}, "It was not called; search, send was."),
        ("no_writing_tool", None, "It called send."),
        ("max_seconds", 2.5, ""),
        ("max_seconds", 2, "It took 2.5 s."),
        ("max_cost_usd", 0.01, ""),
        ("max_cost_usd", 0.001, "It cost $0.010000."),
        ("json_schema", {"type": "object"}, "The answer is no JSON."),
    ],
)
def test_each_kind_says_what_is_wrong(kind: str, value: object, problem: str) -> None:
    stored = {"kind": kind} if value is None else {"kind": kind, "value": value}
    checks = parse_checks([stored])
    [outcome] = evaluate_checks(checks, ANSWER)
    assert (outcome.passed, outcome.detail) == (not problem, problem)
    assert parse_checks([check.dump() for check in checks]) == checks


@pytest.mark.parametrize("text", ['{"n": 1}', '```json\n{"n": 1}\n```', ' {"n": 1}\n'])
def test_json_is_judged_by_its_schema(text: str) -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    [fits] = evaluate_checks(parse_checks([{"kind": "json_schema", "value": schema}]), Observed(text))
    assert fits.passed
    [unfit] = evaluate_checks(parse_checks([{"kind": "json_schema", "value": {"type": "array"}}]), Observed(text))
    assert "a list" in unfit.detail


def test_an_unknown_cost_is_not_cheap() -> None:
    [outcome] = evaluate_checks(parse_checks([{"kind": "max_cost_usd", "value": 1}]), Observed("x", cost_usd=None))
    assert outcome.detail == "Nobody knows what it cost."


@pytest.mark.parametrize(
    ("stored", "pointer"),
    [
        ("x", "/checks"),
        ([{"kind": "contains", "value": "x"}] * 21, "/checks"),
        ([1], "/checks/0"),
        ([{"kind": "contains", "value": "x", "else": 1}], "/checks/0"),
        ([{"kind": "better"}], "/checks/0/kind"),
        ([{"kind": "contains"}], "/checks/0/value"),
        ([{"kind": "contains", "value": " "}], "/checks/0/value"),
        ([{"kind": "regex", "value": "("}], "/checks/0/value"),
        ([{"kind": "regex", "value": r"(a)\1"}], "/checks/0/value"),
        ([{"kind": "json_schema", "value": {"$ref": "#"}}], "/checks/0/value/$ref"),
        ([{"kind": "tool_called", "value": {"name": ""}}], "/checks/0/value/name"),
        ([{"kind": "tool_called", "value": {"name": "x", "arguments": []}}], "/checks/0/value/arguments"),
        ([{"kind": "no_writing_tool", "value": 1}], "/checks/0/value"),
        ([{"kind": "max_seconds", "value": True}], "/checks/0/value"),
        ([{"kind": "max_seconds", "value": 0}], "/checks/0/value"),
    ],
)
def test_what_is_no_check_is_refused_with_its_place(stored: object, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_checks(stored)
    assert refused.value.pointer == pointer


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(st.fixed_dictionaries({"kind": st.sampled_from(list(CHECK_KINDS)), "value": _JSON}), max_size=3), st.text()
)
def test_anything_is_a_check_or_refused(stored: object, text: str) -> None:
    try:
        checks = parse_checks(stored)
    except InvalidInput:
        return
    assert len(evaluate_checks(checks, Observed(text))) == len(checks)
