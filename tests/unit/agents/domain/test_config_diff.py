from dataclasses import replace

from agents.domain.config_diff import compare_configurations
from agents.domain.configuration import SETTINGS, AgentConfiguration, ContextPolicy, MemoryPolicy, TurnLimits
from foundation.line_diff import LONGEST, LineKind, compare_lines

PLAIN = AgentConfiguration(model_chain=("offline:",))


def shown(old: list[str], new: list[str]) -> list[str]:
    marks = {LineKind.SAME: " ", LineKind.ADDED: "+", LineKind.REMOVED: "-", LineKind.SKIPPED: "~"}
    return [f"{marks[line.kind]}{line.text}" for line in compare_lines(old, new)]


def test_equal_configurations_have_no_differences() -> None:
    assert compare_configurations(PLAIN, replace(PLAIN)) == []


def test_a_limit_that_is_given_as_its_default_says_so() -> None:
    found = compare_configurations(PLAIN, AgentConfiguration.parse(PLAIN.dump() | {"limits": {"steps": 12}}))
    assert [(line.kind, line.text) for line in found[0].lines][:2] == [
        (LineKind.REMOVED, "steps: 12 (default)"),
        (LineKind.ADDED, "steps: 12"),
    ]


def test_every_field_is_compared() -> None:
    other = AgentConfiguration(
        model_chain=("x:y", "offline:"),
        instructions="Be brief.",
        tools=("clock",),
        limits=TurnLimits(steps=3),
        context_policy=ContextPolicy(history_messages=3),
        memory=MemoryPolicy(recall=True),
    )
    assert [difference.field for difference in compare_configurations(PLAIN, other)] == [
        name for name in SETTINGS if name in other.dump()
    ]


def test_the_order_of_models_is_a_difference() -> None:
    assert compare_configurations(
        AgentConfiguration(model_chain=("a:", "b:")), AgentConfiguration(model_chain=("b:", "a:"))
    )


def test_long_equal_stretches_are_left_out_and_counted() -> None:
    old = [str(number) for number in range(20)]
    new = [*old[:10], "x", *old[11:]]
    assert shown(old, new) == ["~7 equal lines", " 7", " 8", " 9", "-10", "+x", " 11", " 12", " 13", "~6 equal lines"]


def test_one_line_that_is_left_out_is_one() -> None:
    assert shown(["a", "b", "c", "d"], ["a", "b", "c", "d", "e"]) == ["~1 equal line", " b", " c", " d", "+e"]


def test_texts_that_are_too_long_to_compare_are_shown_as_they_are() -> None:
    old = ["same"] * (LONGEST + 1)
    assert shown(old, ["new"]) == ["-same"] * (LONGEST + 1) + ["+new"]
