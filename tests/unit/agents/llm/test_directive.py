"""Stage directions for the models that play a part."""

from __future__ import annotations

import pytest

from agents.llm.directive import parse_directive


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("nothing here", None),
        ("[[other a=1]]", None),
        ("[[offline]]", {}),
        ("Hi [[offline words=5 pace_ms=0.5 fail=transient]] there", {"words": 5, "pace_ms": 0.5, "fail": "transient"}),
        ('[[offline text="a ]] b \\" c" cut=2]]', {"text": 'a ]] b " c', "cut": 2}),
        (
            '[[offline tool=clock args={"a": {"b": [1, "]]"]}} parallel=2]]',
            {"tool": "clock", "args": {"a": {"b": [1, "]]"]}}, "parallel": 2},
        ),
        ('[[offline calls=[["clock",{}],["x","{broken"]]]]', {"calls": [["clock", {}], ["x", "{broken"]]}),
    ],
)
def test_a_directive_is_read(text: str, settings: dict[str, object] | None) -> None:
    assert parse_directive(text, "offline") == settings


@pytest.mark.parametrize(
    "text", ["[[offline", "[[offline x]]", "[[offline a=", "[[offline a= b=1]]", "[[offline a={]]"]
)
def test_a_broken_directive_is_not_taken_for_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_directive(text, "offline")
