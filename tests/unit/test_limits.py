"""What a release may set, and what is refused with a pointer to it."""

from dataclasses import asdict
from typing import Any

import pytest

from agents.domain.configuration import (
    ContextPolicy,
    TurnLimits,
    read_context_policy,
    read_limits,
    validate_configuration,
)
from agents.llm.routes import fault_of_route
from foundation.errors import InvalidInput

LIMITS = list(asdict(TurnLimits()))
POLICY = list(asdict(ContextPolicy()))


def test_nothing_set_means_the_defaults() -> None:
    assert read_limits({}) == TurnLimits()
    assert read_context_policy({}) == ContextPolicy()


def test_what_is_set_is_kept_and_the_rest_stays_default() -> None:
    assert read_limits({"steps": 1, "turn_seconds": 60}) == TurnLimits(steps=1, turn_seconds=60)
    assert read_context_policy({"history_messages": 500}) == ContextPolicy(history_messages=500)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [0, -1, 2**63, 1.0, True, "5", None, [], float("nan")])
def test_a_limit_that_is_no_number_in_bounds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_limits({name: value})
    assert refusal.value.pointer == f"/limits/{name}"


@pytest.mark.parametrize("name", POLICY)
@pytest.mark.parametrize("value", [0, 10**9, False, "all"])
def test_a_policy_that_is_no_number_in_bounds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_context_policy({name: value})
    assert refusal.value.pointer == f"/context_policy/{name}"


@pytest.mark.parametrize("name", [*LIMITS, *POLICY])
def test_every_name_has_a_largest_value_above_its_default(name: str) -> None:
    read = read_limits if name in LIMITS else read_context_policy
    defaults = asdict(TurnLimits()) | asdict(ContextPolicy())
    assert getattr(read({name: (defaults[name] or 1)}), name)
    with pytest.raises(InvalidInput):
        read({name: 4_000_001})


@pytest.mark.parametrize("values", [{"dollars": 1}, {"steps": 1, "__class__": 1}])
def test_an_unknown_name_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_limits(values)
    assert refusal.value.pointer == "/limits"
    assert "steps" in refusal.value.detail, "it says what is known"


@pytest.mark.parametrize("values", [None, [], "x", 1])
def test_what_is_no_object_is_refused(values: Any) -> None:
    with pytest.raises(InvalidInput):
        read_limits(values)


SOUND: dict[str, Any] = {
    "model_chain": ["openai:gpt", "offline:"],
    "instructions": "Be brief.",
    "tools": ["clock"],
    "limits": {},
    "context_policy": {},
}


def test_a_sound_configuration_passes() -> None:
    validate_configuration(**SOUND, known_tools=frozenset({"clock"}), fault_of_route=fault_of_route)


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("model_chain", [], "/model_chain"),
        ("model_chain", "offline:", "/model_chain"),
        ("model_chain", ["offline:", "gpt"], "/model_chain/1"),
        ("model_chain", [1], "/model_chain/0"),
        ("model_chain", ["x:" + "y" * 199], "/model_chain/0"),
        ("instructions", None, "/instructions"),
        ("instructions", "x" * 100_001, "/instructions"),
        ("tools", "clock", "/tools"),
        ("tools", ["clock", "os.system"], "/tools/1"),
        ("tools", [["clock"]], "/tools/0"),
        ("tools", ["clock", "clock"], "/tools/1"),
        ("limits", {"steps": 0}, "/limits/steps"),
        ("context_policy", {"x": 1}, "/context_policy"),
    ],
)
def test_an_unsound_configuration_is_refused_with_a_pointer(field: str, value: Any, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        validate_configuration(
            **SOUND | {field: value}, known_tools=frozenset({"clock"}), fault_of_route=fault_of_route
        )
    assert refusal.value.pointer == pointer
