"""What the offline model fills in for a schema: the same each time, fitting, and never without an end."""

from enum import Enum
from typing import Any, Literal
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from pydantic import AwareDatetime, BaseModel, Field

from agents.llm.offline.examples import find_example


class Kind(Enum):
    BIG = "big"
    SMALL = "small"


class Person(BaseModel):
    name: str = Field(min_length=30, max_length=40)
    age: int = Field(ge=18)
    weight: float = Field(gt=0)
    born: AwareDatetime
    id: UUID
    kind: Kind
    always: Literal["this"]
    nobody: None
    friend: "Person | None"
    children: list["Person"]
    nicknames: list[str] = Field(min_length=2)
    home: dict[str, str]
    either: int | str
    happy: bool


def test_a_model_of_pydantics_is_filled_in() -> None:
    person = Person.model_validate(find_example(Person.model_json_schema()))
    assert (person.children, person.nicknames, person.always) == ([], ["offline", "offline"], "this")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": ["integer", "null"]},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 3},
        {"properties": {"a": {"enum": [7]}, "b": {"const": None}, "c": {"default": [1]}}, "required": ["a", "b"]},
        {"allOf": [{"type": "string", "maxLength": 3}]},
        {"$defs": {"a/b": {"type": "number"}}, "$ref": "#/$defs/a~1b"},
    ],
)
def test_a_value_fits_its_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator(schema).validate(find_example(schema))
    assert find_example(schema) == find_example(schema)


ENDLESS: Any = {"type": "object", "properties": {name: {"$ref": "#"} for name in "abcdefgh"}}


@pytest.mark.parametrize(
    "schema",
    [
        ENDLESS,
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": 7},
        {"type": 7},
        {"type": []},
        {"type": "object", "properties": []},
        {"type": "array", "minItems": 10**9, "items": ENDLESS},
        {"type": "array", "minItems": "many"},
        {"type": "string", "minLength": 10**12, "maxLength": -1},
        {"type": "integer", "minimum": "much"},
        {"anyOf": []},
        {"enum": []},
        {"properties": {"a": True}},
    ],
)
def test_what_has_no_end_or_no_sense_gives_something_all_the_same(schema: dict[str, Any]) -> None:
    assert len(str(find_example(schema))) < 100_000
