"""The schemas that a release puts on arguments: a closed list of keywords, judged in a bounded time."""

from time import perf_counter
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.argument_schemas import (
    MAX_MATCHED_CHARACTERS,
    MAX_PATTERN_CHARACTERS,
    argument_problems,
    check_schema,
)
from foundation.errors import InvalidInput


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ([], "is an object"),
        ({"$ref": "https://evil.example/s"}, "refers to nothing"),
        ({"properties": {"a": {"$ref": "#"}}}, "refers to nothing"),
        ({"format": "email"}, "use pattern"),
        ({"maxmum": 1}, "'maxmum' is not supported"),
        ({"patternProperties": {"a+": {}}}, "not supported"),
        ({"uniqueItems": True}, "not supported"),
        ({"maximum": "1"}, "no JSON Schema"),
        ({"properties": {"a": {"type": "text"}}}, "no JSON Schema"),
        ({"multipleOf": 0}, "no JSON Schema"),
        ({"anyOf": []}, "no JSON Schema"),
        ({"properties": {"a": 1}}, "is an object"),
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": r"(a)\1"}, "back references"),
        ({"pattern": "(?=a)"}, "look-around"),
        ({"pattern": r"(\w{200}){1,20}"}, "too large"),
        ({"pattern": "a" * (MAX_PATTERN_CHARACTERS + 1)}, "at most"),
        ({"enum": ["x" * 9_000]}, "at most"),
        ({"const": float("nan")}, "finite"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "2020-12"),
    ],
)
def test_a_schema_that_cannot_be_judged_is_refused_in_words(schema: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        check_schema(schema)


def test_a_schema_is_not_nested_deeply() -> None:
    schema: dict[str, Any] = {}
    for _ in range(12):
        schema = {"not": schema}
    with pytest.raises(InvalidInput, match="levels deep"):
        check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "arguments", "problem"),
    [
        ({"properties": {"to": {"pattern": "@example\\.com$"}}}, {"to": "a@example.com.evil"}, "`to` does not match"),
        ({"properties": {"to": {"pattern": "^a$"}}}, {"to": "a\n"}, "`to` does not match"),
        ({"properties": {"n": {"type": "integer"}}}, {"n": True}, "`n` is not a whole number"),
        ({"properties": {"n": {"type": ["string", "null"]}}}, {"n": 1}, "`n` is not text or null"),
        ({"properties": {"n": {"enum": [1]}}}, {"n": True}, "`n` is none of the values"),
        ({"properties": {"n": {"exclusiveMaximum": 5}}}, {"n": 5}, "`n` is not below 5"),
        ({"properties": {"n": {"maxLength": 2}}}, {"n": "abc"}, "`n` has more than 2 characters"),
        ({"properties": {"n": {"maximum": 100}}}, {"n": "99999"}, "`n` is not a number"),
        ({"properties": {"n": {"anyOf": [{"maximum": 100}]}}}, {"n": "99999"}, "`n` does not fit anyOf"),
        ({"properties": {"n": {"not": {"minimum": 100}}}}, {"n": "99999"}, "`n` does not fit not"),
        ({"properties": {"n": {"pattern": "^a$"}}}, {"n": 5}, "`n` is not text"),
        ({"properties": {"n": {"properties": {"m": {"maximum": 1}}}}}, {"n": '{"m": 2}'}, "`n` is not an object"),
        ({"properties": {"n": {"items": {"maximum": 1}}}}, {"n": {"0": 2}}, "`n` is not a list"),
        ({"properties": {"n": {"items": {"minimum": 3}}}}, {"n": [3, 1]}, "`n[1]` is below 3"),
        ({"properties": {"n": {}}, "additionalProperties": False}, {"m": 1}, "arguments that may not be there"),
        ({"properties": {"n": False}}, {"n": 1}, "does not fit the schema"),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}, "the call does not fit anyOf"),
        ({"properties": {"n": {"multipleOf": 0.01}}}, {"n": 1e308}, ""),
    ],
)
def test_what_does_not_fit_is_said_in_words(schema: Any, arguments: Any, problem: str) -> None:
    check_schema(schema)
    [first, *_] = [*argument_problems(schema, arguments), ""]
    assert problem in first


@pytest.mark.parametrize(("types", "value"), [({}, None), ({"type": ["number", "string"]}, "all"), ({}, 5)])
def test_a_limit_lets_other_types_pass_where_they_are_named(types: dict[str, Any], value: Any) -> None:
    assert argument_problems({"properties": {"n": {**types, "maximum": 100}}}, {"n": value}) == []


def test_a_pattern_takes_a_linear_time_and_no_text_that_is_too_long() -> None:
    for pattern in ("^(a+)+$", "^(a|a)*$", "(a?){100}a{100}b", "[^x]{200}y"):
        schema = {"properties": {"to": {"pattern": pattern}}}
        check_schema(schema)
        began_at = perf_counter()
        assert argument_problems(schema, {"to": "a" * (MAX_MATCHED_CHARACTERS - 1) + "!"})
        assert perf_counter() - began_at < 1
    assert argument_problems({"properties": {"to": {"pattern": "a"}}}, {"to": "a" * (MAX_MATCHED_CHARACTERS + 1)})


leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab", 0.5])
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
)
schemas = st.recursive(
    st.booleans()
    | st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "number", "integer", "boolean", "object", "array", "null"]),
            "enum": st.lists(leaves, min_size=1, max_size=3),
            "const": leaves,
            "minimum": st.integers(-2, 2),
            "exclusiveMaximum": st.integers(-2, 2),
            "maxLength": st.integers(0, 2),
            "minItems": st.integers(0, 2),
            "maxProperties": st.integers(0, 2),
            "required": st.just(["a"]),
            "pattern": st.sampled_from(["^a", "b$", "a?"]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "additionalProperties": inner,
            "items": inner,
            "not": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "if": inner,
            "then": inner,
        },
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from("ab"), schemas), st.dictionaries(st.sampled_from("ab"), values))
def test_arguments_fit_as_another_library_says(properties: dict[str, Any], arguments: dict[str, Any]) -> None:
    schema = {"properties": properties}
    try:
        check_schema(schema)
    except InvalidInput:
        return
    if not jsonschema_rs.is_valid(schema, arguments):
        assert argument_problems(schema, arguments)
    # Only where no type is named do we refuse more.
    schema = name_types(schema)
    assert (not argument_problems(schema, arguments)) is jsonschema_rs.is_valid(schema, arguments)


def name_types(schema: Any) -> Any:
    """`schema` with all types where it names none, which changes nothing."""
    if isinstance(schema, list):
        return [name_types(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    named = {
        keyword: {name: name_types(item) for name, item in value.items()}
        if keyword == "properties"
        else name_types(value)
        if keyword not in ("enum", "const", "required", "type")
        else value
        for keyword, value in schema.items()
    }
    return {"type": ["string", "number", "boolean", "object", "array", "null"], **named}
