"""Rights of tools: what runs, what needs a person, what is refused, whatever a model writes."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.prompt_sources import PromptSource, PromptSources, SourceKind
from agents.domain.tool_rights import (
    RightDecision,
    canonical_arguments,
    describe_decision,
    hash_arguments,
    judge_call,
)
from agents.domain.tool_rules import MismatchAction, ToolRight, ToolRule, Untrusted
from agents.domain.verbatim_values import VerbatimTexts
from foundation import strict_json
from foundation.errors import BandstandError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "to": {"type": "string"},
        "amount": {"type": "number"},
        "folder": {"enum": ["inbox", "archive"]},
        "urgent": {"type": "boolean", "default": False},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": "none"},
        "rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "$defs": {"Row": {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "text": {"type": "string"}}}},
}
WEB = PromptSource(SourceKind.TOOL, "http_fetch")
PAGE = PromptSources((WEB,), ("Send 100 to ada@example.com please.",))
NOTHING_READ = PromptSources((), ("hello",))
STRICT = ToolRule(untrusted=Untrusted.DENY)


def judge(
    rule: ToolRule, arguments: Any, sources: PromptSources = NOTHING_READ, *, instructions: str = "", **more: Any
) -> RightDecision:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    texts = VerbatimTexts([instructions, *sources.person_texts])
    return judge_call(rule, text, sources.low_trust, texts, tool_schema=SCHEMA, **more)


def places(decision: RightDecision) -> list[str]:
    return [reason.argument for reason in decision.reasons]


# --- the right itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", list(ToolRight))
def test_the_right_decides_a_call_that_is_about_nothing_else(right: ToolRight) -> None:
    decision = judge(ToolRule(right), {"to": "a"})
    assert decision.decision is right
    assert [reason.code for reason in decision.reasons] == {"allow": [], "ask": ["asks"], "deny": ["denied"]}[right]


@pytest.mark.parametrize(
    "text",
    [
        '{"to": "a", "to": "b"}',
        '{"rows": [{"text": "a", "text": "b"}]}',
        '{"amount": NaN}',
        '{"amount": Infinity}',
        '{"amount": 1e400}',
        '{"amount": 123456789012345678901234567890}',
        '{"to": "\\ud800"}',
        '{"to": "\\u0000"}',
        '{"to": "a",}',
        "[]",
        '"to"',
        "{'to': 'a'}",
        '{"to": "a"} {"to": "b"}',
        '\ufeff{"to": "a"}',
        "[" * 200_000,
        '{"to": "' + "x" * 300_000 + '"}',
    ],
)
@pytest.mark.parametrize("rule", [ToolRule(), ToolRule(ToolRight.ASK), STRICT])
def test_arguments_that_are_not_strict_json_are_refused(rule: ToolRule, text: str) -> None:
    decision = judge(rule, text)
    assert decision.decision is ToolRight.DENY
    assert [reason.code for reason in decision.reasons] == ["malformed"]
    assert decision.arguments == ""


def test_the_arguments_that_run_are_the_canonical_ones() -> None:
    assert judge(ToolRule(), '{ "to":"\\u0061", "amount": 1e2 }').arguments == '{"amount":100.0,"to":"a"}'
    assert canonical_arguments("") == canonical_arguments(" null ") == "{}"
    assert hash_arguments("{}") == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_canonical_arguments_mean_the_same_and_are_their_own_canonical_form(arguments: dict[str, Any]) -> None:
    try:
        canonical = canonical_arguments(json.dumps(arguments))
    except BandstandError:
        return
    assert json.loads(canonical) == arguments
    assert canonical_arguments(canonical) == canonical


# --- the schema -------------------------------------------------------------------------------------------------------


def test_a_call_that_does_not_fit_the_schema_is_refused_or_asked_about() -> None:
    schema = {"properties": {"amount": {"maximum": 100}}, "required": ["amount"]}
    assert judge(ToolRule(schema=schema), {"amount": 100}).decision is ToolRight.ALLOW
    refused = judge(ToolRule(schema=schema), {"amount": 101})
    assert (refused.decision, refused.reasons[0].text) == (ToolRight.DENY, "`amount` is above 100")
    assert judge(ToolRule(schema=schema, otherwise=MismatchAction.ASK), {"amount": 101}).decision is ToolRight.ASK
    assert judge(ToolRule(schema=schema), {}).reasons[0].text == "the call lacks `amount`"


def test_the_strictest_of_all_that_applies_counts_and_says_why() -> None:
    rule = ToolRule(ToolRight.ASK, schema={"properties": {"amount": {"maximum": 5}}}, untrusted=Untrusted.ASK)
    decision = judge(rule, {"amount": 100, "to": "eve@example.com"}, PAGE)
    assert decision.decision is ToolRight.DENY
    assert [reason.code for reason in decision.reasons] == ["schema"]


# --- where values come from -------------------------------------------------------------------------------------------


def test_without_a_source_of_low_trust_nothing_is_untrusted() -> None:
    assert judge(STRICT, {"to": "eve@example.com"}).decision is ToolRight.ALLOW


def test_a_value_of_the_person_or_of_the_release_is_trusted_after_a_page_was_read() -> None:
    assert judge(STRICT, {"to": "ada@example.com", "amount": 100}, PAGE).decision is ToolRight.ALLOW
    words = "Always write to ops@example.com."
    assert judge(STRICT, {"to": "ops@example.com"}, PAGE, instructions=words).decision is ToolRight.ALLOW


def test_a_value_from_nowhere_else_may_come_from_every_source_of_low_trust() -> None:
    both = PromptSources((WEB, PromptSource(SourceKind.MEMORIES)))
    decision = judge(ToolRule(untrusted=Untrusted.ASK), {"to": "eve@example.com"}, both)
    assert decision.decision is ToolRight.ASK
    assert decision.reasons[0].text == "`to` may come from a web page (http_fetch) or a memory"
    assert describe_decision(decision.stored) == (
        "Asked first, because `to` may come from a web page (http_fetch) or a memory."
    )


def encodings(text: str) -> list[str]:
    return [
        text.upper(),
        text.title(),
        f" {text}",
        f"{text}\n",
        f"{text}.",
        f"{text}\u200b",
        f"{text}\u0301",
        text[::-1],
        text.replace("a", "\u0430"),
        text.replace("@", " at "),
        text.replace(".", "\u3002"),
        text[:-1],
        text[1:],
        f"x{text}",
        f"{text}.evil.example",
        f"{text},eve@example.com",
        f"{text} eve@example.com",
        quote(text, safe=""),
        base64.b64encode(text.encode()).decode(),
        text.encode().hex(),
        "".join(f"&#{ord(character)};" for character in text),
        "\\u0061" + text[1:],
    ]


@pytest.mark.parametrize("value", encodings("ada@example.com"))
def test_no_other_spelling_of_a_trusted_value_is_trusted(value: str) -> None:
    assert judge(STRICT, {"to": value}, PAGE).decision is ToolRight.DENY


@pytest.mark.parametrize("value", [100.5, 1000, 10, -100, 1e3, "100 to", 99.99999999999999999])
def test_only_the_very_number_is_trusted(value: Any) -> None:
    expected = ToolRight.ALLOW if value in ("100 to", 100) else ToolRight.DENY
    assert judge(STRICT, {"amount": value}, PAGE).decision is expected


def test_values_of_a_closed_list_carry_nothing_of_a_stranger() -> None:
    listed = {"folder": "archive", "urgent": True, "note": None, "rows": [{"kind": "b"}]}
    assert judge(STRICT, listed, PAGE).decision is ToolRight.ALLOW
    assert judge(STRICT, {"note": "none"}, PAGE).decision is ToolRight.ALLOW
    assert judge(STRICT, {"folder": "Archive"}, PAGE).decision is ToolRight.DENY
    assert judge(STRICT, {"urgent": 1}, PAGE).decision is ToolRight.DENY
    rule = ToolRule(untrusted=Untrusted.DENY, schema={"properties": {"to": {"enum": ["ops@example.com"]}}})
    assert judge(rule, {"to": "ops@example.com"}, PAGE).decision is ToolRight.ALLOW


def test_each_value_of_a_nested_argument_and_each_free_key_counts() -> None:
    decision = judge(STRICT, {"rows": [{"text": "ada@example.com"}, {"text": "eve"}], "headers": {"x": "100"}}, PAGE)
    assert sorted(places(decision)) == ["headers.x", "rows[1].text"]
    assert places(judge(STRICT, {"unheard_of": True}, PAGE)) == ["unheard_of", "unheard_of"]


def test_a_single_argument_has_its_own_rule() -> None:
    rule = ToolRule(untrusted=Untrusted.ASK, untrusted_arguments={"to": Untrusted.DENY, "note": Untrusted.ANY})
    assert judge(rule, {"note": "what the page says"}, PAGE).decision is ToolRight.ALLOW
    assert judge(rule, {"amount": 7}, PAGE).decision is ToolRight.ASK
    assert judge(rule, {"to": "eve@example.com", "amount": 7}, PAGE).decision is ToolRight.DENY


def test_more_values_than_can_be_judged_are_untrusted_and_fit_no_schema() -> None:
    many = {"rows": [{"text": "100"}] * 1_000}
    assert judge(STRICT, many, PAGE).decision is ToolRight.DENY
    assert judge(ToolRule(schema={}), many).decision is ToolRight.DENY
    assert judge(ToolRule(), many).decision is ToolRight.ALLOW
    assert judge(ToolRule(schema={}), {"to": "a"}, max_values=2).decision is ToolRight.DENY
    assert judge(ToolRule(schema={}), {"to": "a"}, max_values=3).decision is ToolRight.ALLOW


def test_what_is_stored_of_a_decision_is_bounded() -> None:
    text = json.dumps({f"k{number}" + "x" * 500: "y" for number in range(200)})
    stored = judge(STRICT, text, PAGE).stored
    assert len(strict_json.canonical(stored)) < 8_000


@given(st.text(), st.text(min_size=1))
def test_a_value_is_trusted_only_if_its_text_is_there(text: str, value: str) -> None:
    sources = PromptSources((WEB,), (text,))
    decision = judge(STRICT, {"to": value}, sources)
    if value not in text:
        assert decision.decision is ToolRight.DENY
