"""What an agent may be set to: read, written, upgraded, and refused with a pointer."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain import configuration
from agents.domain.configuration import (
    SETTINGS,
    AgentConfiguration,
    Choices,
    ContextPolicy,
    Installed,
    MemoryPolicy,
    Nested,
    NewerConfiguration,
    RouteChain,
    Setting,
    Stored,
    Switch,
    Text,
    TextLine,
    ToolNames,
    ToolRights,
    TurnLimits,
    WholeNumber,
)
from agents.llm.routes import route_error
from foundation.errors import InvalidInput
from memory.enums import MemoryScope

SOUND: Stored = {
    "schema": 1,
    "model_chain": ["openai:gpt", "offline:"],
    "instructions": "Be brief.",
    "tools": ["clock"],
}
HERE = Installed(frozenset({"clock"}), route_error)
GROUPS = {name: setting for name, setting in SETTINGS.items() if isinstance(setting, Nested)}
NUMBERS = [
    (group, name, setting)
    for group, members in GROUPS.items()
    for name, setting in members.members.items()
    if isinstance(setting, WholeNumber)
]


# Rules as they are stored: what has its default is left out.
TOOL_RULES = st.fixed_dictionaries(
    {"right": st.sampled_from(["allow", "ask", "deny"])},
    optional={
        "schema": st.just({"properties": {"to": {"pattern": "^a"}}}),
        "otherwise": st.just("ask"),
        "untrusted": st.sampled_from(["ask", "deny"]),
        "untrusted_arguments": st.just({"to": "any", "amount": "deny"}),
        "decided_by": st.just("operator"),
        "approval_hours": st.sampled_from([1, 168]),
    },
)


def form_values(setting: Setting) -> st.SearchStrategy[Any]:
    """JSON that a setting may have."""
    match setting:
        case WholeNumber(default=None):
            return st.integers(1, setting.largest)
        case WholeNumber():
            return st.integers(1, setting.largest) | st.just(setting.default)
        case TextLine():
            return st.from_regex(r"[a-z ]{0,20}[a-z]", fullmatch=True)
        case Text():
            return st.text(max_size=50)
        case Switch():
            return st.booleans()
        case RouteChain():
            return st.lists(st.from_regex(r"[a-z]{1,8}:[a-z0-9-]{0,8}", fullmatch=True), max_size=3)
        case ToolNames():
            return st.lists(st.text(max_size=8), max_size=4, unique=True)
        case Choices():
            return st.lists(st.sampled_from(setting.choices), unique=True)
        case Nested():
            return some_of(setting.members)
        case ToolRights():
            return st.dictionaries(st.sampled_from(["clock", "a/b~c"]), TOOL_RULES, max_size=2)
    raise AssertionError(f"There are no examples of {setting}.")


def some_of(settings: Mapping[str, Setting]) -> st.SearchStrategy[Stored]:
    return st.fixed_dictionaries({}, optional={name: form_values(setting) for name, setting in settings.items()})


STORED = some_of(SETTINGS).map(lambda values: {"schema": 1, **values})


@given(STORED)
def test_what_is_read_is_written_in_one_way_and_read_as_the_same(stored: Stored) -> None:
    before = deepcopy(stored)
    read = AgentConfiguration.parse(stored)
    assert stored == before
    assert AgentConfiguration.parse(read.dump()) == read


@given(STORED, STORED)
def test_configurations_are_equal_exactly_when_they_are_written_equally(one: Stored, other: Stored) -> None:
    first, second = AgentConfiguration.parse(one), AgentConfiguration.parse(other)
    assert (first == second) == (first.dump() == second.dump())


@given(STORED)
def test_no_value_is_lost_and_nothing_is_written_that_has_its_default(stored: Stored) -> None:
    written = AgentConfiguration.parse(stored).dump()
    absent = {name: setting.dump(setting.default) for name, setting in SETTINGS.items()}
    assert absent | written == absent | stored
    assert all(written[name] != absent[name] for name in written if name != "schema")


@given(STORED)
def test_whatever_can_be_read_can_be_shown(stored: Stored) -> None:
    read = AgentConfiguration.parse(stored)
    for name, setting in SETTINGS.items():
        assert setting.lines(getattr(read, name)) or not stored.get(name)
        assert isinstance(setting.text(getattr(read, name)), str)


# --- what is set ---


def test_nothing_set_means_the_defaults() -> None:
    assert AgentConfiguration.parse({"schema": 1}) == AgentConfiguration()
    assert AgentConfiguration().dump() == {"schema": 1}
    assert AgentConfiguration().limits.steps == 12


def test_what_is_set_is_kept_and_the_rest_stays_default() -> None:
    read = AgentConfiguration.parse(SOUND | {"limits": {"steps": 1, "turn_seconds": 60}})
    assert (read.model_chain, read.tools) == (("openai:gpt", "offline:"), ("clock",))
    assert read.limits == TurnLimits(steps=1, turn_seconds=60)
    assert read.context_policy == ContextPolicy()


def test_a_number_that_was_set_to_its_default_stays_when_the_default_moves() -> None:
    limits = AgentConfiguration.parse({"schema": 1, "limits": {"steps": 12}}).limits
    assert (limits.is_set("steps"), limits.is_set("tool_calls")) == (True, False)
    assert limits != TurnLimits(steps=12)
    assert replace(limits, steps=5) == TurnLimits(steps=5)


def test_memory_is_off_unless_it_is_switched_on_and_its_scopes_are_those_of_memories() -> None:
    policy = AgentConfiguration.parse({"schema": 1}).memory
    assert (policy.recall, policy.remember_turns, policy.extract) == (False, False, False)
    assert policy.scopes == tuple(scope.value for scope in MemoryScope)
    switched = AgentConfiguration.parse({"schema": 1, "memory": {"recall": True, "scopes": ["user"]}}).memory
    assert switched == MemoryPolicy(recall=True, scopes=("user",))


def test_names_are_unique_over_all_groups_since_forms_have_no_groups() -> None:
    names = [name for setting in GROUPS.values() for name in setting.members]
    assert len({*names, *SETTINGS}) == len(names) + len(SETTINGS)


@pytest.mark.parametrize("setting", [*SETTINGS.values(), *(setting for *_, setting in NUMBERS)], ids=lambda s: s.label)
def test_every_setting_says_what_it_is(setting: Setting) -> None:
    assert setting.label
    assert setting.help_text.endswith(".")


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda s: s.label)
def test_every_setting_stands_in_a_section_of_the_form(setting: Setting) -> None:
    assert setting.section


# --- what is refused ---


@pytest.mark.parametrize(("group", "name"), [number[:2] for number in NUMBERS])
@pytest.mark.parametrize("value", [0, -1, 2**63, 1.0, True, "5", None, [], float("nan")])
def test_what_is_no_number_in_bounds_is_refused(group: str, name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        AgentConfiguration.parse(SOUND | {group: {name: value}})
    assert refusal.value.pointer == f"/{group}/{name}"


@pytest.mark.parametrize(("group", "name", "setting"), NUMBERS)
def test_every_number_has_a_largest_value_above_its_default(group: str, name: str, setting: WholeNumber) -> None:
    for value in (setting.default or 1, setting.largest):
        assert getattr(getattr(AgentConfiguration.parse({"schema": 1, group: {name: value}}), group), name) == value
    with pytest.raises(InvalidInput):
        AgentConfiguration.parse({"schema": 1, group: {name: setting.largest + 1}})


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"dollars": 1}, "/dollars"),
        ({"limits": {"dollars": 1}}, "/limits/dollars"),
        ({"limits": {"steps": 1, "__class__": 1}}, "/limits/__class__"),
        ({"limits": {"pinned": ["steps"]}}, "/limits/pinned"),
        ({"context_policy": {"a/b~c": 1}}, "/context_policy/a~1b~0c"),
        ({"limits": None}, "/limits"),
        ({"limits": []}, "/limits"),
        ({"context_policy": "x"}, "/context_policy"),
        ({"model_chain": "offline:"}, "/model_chain"),
        ({"model_chain": None}, "/model_chain"),
        ({"model_chain": ["offline:", "gpt"]}, "/model_chain/1"),
        ({"model_chain": [1]}, "/model_chain/0"),
        ({"model_chain": ["x:" + "y" * 199]}, "/model_chain/0"),
        ({"instructions": None}, "/instructions"),
        ({"instructions": "x" * 100_001}, "/instructions"),
        ({"tools": "clock"}, "/tools"),
        ({"tools": [["clock"]]}, "/tools/0"),
        ({"tools": ["clock", "clock"]}, "/tools/1"),
        ({"memory": {"recall": 1}}, "/memory/recall"),
        ({"memory": {"recall": "true"}}, "/memory/recall"),
        ({"memory": {"scopes": "user"}}, "/memory/scopes"),
        ({"memory": {"scopes": ["user", "everybody"]}}, "/memory/scopes/1"),
        ({"memory": {"scopes": ["user", "user"]}}, "/memory/scopes/1"),
        ({"memory": {"scopes": [["user"]]}}, "/memory/scopes/0"),
        ({"schema": 0}, "/schema"),
        ({"schema": True}, "/schema"),
        ({"schema": "1"}, "/schema"),
        ({"schema": None}, "/schema"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_pointer(change: Stored, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        AgentConfiguration.parse(SOUND | change)
    assert refusal.value.pointer == pointer


@pytest.mark.parametrize("stored", [None, [], "x", 1, {}])
def test_what_is_no_object_with_a_schema_is_refused(stored: Any) -> None:
    with pytest.raises(InvalidInput):
        AgentConfiguration.parse(stored)


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InvalidInput, match=r"'dollars'.* steps"):
        AgentConfiguration.parse({"schema": 1, "limits": {"dollars": 1}})


# --- what can run here ---


def test_a_sound_configuration_can_run() -> None:
    AgentConfiguration.parse(SOUND).validate(HERE)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"model_chain": ()}, "/model_chain"),
        ({"model_chain": ("offline:", "nobody:model")}, "/model_chain/1"),
        ({"tools": ("clock", "os.system")}, "/tools/1"),
        # What was not read but made by hand is held to its types and bounds as well.
        ({"model_chain": ("gpt",)}, "/model_chain/0"),
        ({"limits": TurnLimits(steps=0)}, "/limits/steps"),
        ({"instructions": "x" * 100_001}, "/instructions"),
    ],
)
def test_what_cannot_run_here_is_refused_with_a_pointer(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        replace(AgentConfiguration.parse(SOUND), **change).validate(HERE)
    assert refusal.value.pointer == pointer


# --- other versions ---


def rename_models(values: Stored) -> Stored:
    """A step of an imagined version, whose schema 1 had another name for the chain."""
    values["model_chain"] = values.pop("models")
    return values


def halve_steps(values: Stored) -> Stored:
    values["limits"]["steps"] //= 2
    return values


def test_an_older_schema_is_upgraded_step_by_step_and_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "UPGRADES", (rename_models, halve_steps))
    oldest = {"schema": 1, "models": ["offline:"], "limits": {"steps": 8}}
    old = {"schema": 2, "model_chain": ["offline:"], "limits": {"steps": 8}}
    before = deepcopy((oldest, old))
    read = AgentConfiguration.parse(oldest)
    assert (
        read
        == AgentConfiguration.parse(old)
        == AgentConfiguration(model_chain=("offline:",), limits=TurnLimits(steps=4))
    )
    assert (oldest, old) == before
    assert read.dump() == {"schema": 3, "model_chain": ["offline:"], "limits": {"steps": 4}}
    assert AgentConfiguration.parse(read.dump()) == read


def test_a_newer_schema_is_refused_by_its_number() -> None:
    with pytest.raises(NewerConfiguration, match=r"schema 2 .* newer version .* up to 1") as refusal:
        AgentConfiguration.parse({"schema": 2, "models": []})
    assert (refusal.value.pointer, refusal.value.code) == ("/schema", "unavailable")


# --- side work ---


@pytest.mark.parametrize(
    ("chain", "utility", "expected"),
    [
        (["openai:big"], ["openai:small", "offline:"], ("openai:small", "offline:")),
        (["openai:big", "openai:small"], [], ("openai:small",)),
        (["openai:big", "offline:"], [], ("openai:big",)),
        (["offline:"], [], ("offline:",)),
    ],
    ids=["named", "last", "last but offline", "offline"],
)
def test_side_work_has_a_chain_of_its_own_or_the_last_model_that_costs_anything(
    chain: list[str], utility: list[str], expected: tuple[str, ...]
) -> None:
    read = AgentConfiguration.parse({"schema": 1, "model_chain": chain, "utility_models": utility})
    assert read.utility_chain == expected
    read.validate(HERE)


def test_a_route_for_side_work_that_cannot_be_used_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidInput) as refusal:
        AgentConfiguration.parse(SOUND | {"utility_models": ["offline:", "nobody:x"]}).validate(HERE)
    assert refusal.value.pointer == "/utility_models/1"


@pytest.mark.parametrize("value", [0, 1, "on", None, []])
def test_what_is_no_switch_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        AgentConfiguration.parse(SOUND | {"title_by_model": value})
    assert refusal.value.pointer == "/title_by_model"


# --- rights of tools --------------------------------------------------------------------------------------------------

MAIL = Installed(
    frozenset({"clock", "mail"}), route_error, lambda tool: {"to", "amount"} if tool == "mail" else frozenset()
)


def with_rights(rights: Any) -> AgentConfiguration:
    return AgentConfiguration.parse(SOUND | {"tool_rights": rights})


@pytest.mark.parametrize(
    ("rights", "pointer"),
    [
        ([], "/tool_rights"),
        ({"mail": "ask"}, "/tool_rights/mail"),
        ({"mail": {}}, "/tool_rights/mail/right"),
        ({"mail": {"right": "perhaps"}}, "/tool_rights/mail/right"),
        ({"mail": {"right": "ask", "rigth": 1}}, "/tool_rights/mail"),
        ({"mail": {"right": "ask", "otherwise": "allow"}}, "/tool_rights/mail/otherwise"),
        ({"mail": {"right": "ask", "approval_hours": 169}}, "/tool_rights/mail/approval_hours"),
        ({"mail": {"right": "ask", "approval_hours": True}}, "/tool_rights/mail/approval_hours"),
        ({"mail": {"right": "ask", "untrusted_arguments": {"to": 1}}}, "/tool_rights/mail/untrusted_arguments/to"),
        ({"mail": {"right": "ask", "schema": {"$ref": "x"}}}, "/tool_rights/mail/schema/$ref"),
        ({"a/b": {"right": 1}}, "/tool_rights/a~1b/right"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_with_a_pointer(rights: Any, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        with_rights(rights)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ({"post": {"right": "deny"}}, "There is no tool 'post'."),
        ({"mail": {"right": "ask", "untrusted_arguments": {"from": "deny"}}}, "mail has no argument 'from'."),
        ({"mail": {"right": "ask", "schema": {"properties": {"amont": {"maximum": 1}}}}}, "no argument 'amont'"),
        ({"mail": {"right": "ask", "schema": {"required": ["subject"]}}}, "It has: amount, to."),
    ],
)
def test_a_rule_for_what_is_not_there_is_refused(rights: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        with_rights(rights).validate(MAIL)


def test_rules_are_lines_in_words() -> None:
    rule = {
        "right": "allow",
        "schema": {"properties": {"amount": {"maximum": 100}}},
        "untrusted": "ask",
        "untrusted_arguments": {"to": "deny"},
        "decided_by": "operator",
        "approval_hours": 2,
    }
    configuration = with_rights({"mail": rule, "clock": {"right": "deny"}})
    configuration.validate(MAIL)
    assert SETTINGS["tool_rights"].lines(configuration.tool_rights) == [
        "clock: every call is refused",
        "mail: calls run",
        'mail: calls that do not fit the schema are refused: {"properties":{"amount":{"maximum":100}}}',
        "mail: calls with values from untrusted sources are asked about",
        "mail: calls with an untrusted to are refused",
        "mail: an operator decides within 2 hours",
    ]


def test_a_configuration_without_rules_is_stored_as_before() -> None:
    assert AgentConfiguration.parse(SOUND).dump() == SOUND
    assert AgentConfiguration.parse(SOUND).rule_of("clock") is None
