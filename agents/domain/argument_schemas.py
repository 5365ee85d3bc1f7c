"""JSON Schemas that a release puts on the arguments of a tool: which of its calls may pass.

A closed list of keywords of JSON Schema 2020-12, so that what a model writes costs a bounded time whatever the schema
is: nothing refers to anything, patterns are matched in linear time, and schemas are small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import islice
from typing import Any, Final

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from foundation import strict_json
from foundation.errors import InvalidInput

MAX_SCHEMA_BYTES: Final = 8 * 1024
MAX_SCHEMA_DEPTH: Final = 12
MAX_PATTERN_CHARACTERS: Final = 300
# Longer texts match no pattern: the time is the length of the text times the size of the pattern.
MAX_MATCHED_CHARACTERS: Final = 4_096
# Arguments with more keys and values fit no schema.
MAX_VALUES: Final = 1_000
_MAX_PROBLEMS: Final = 5

_ANNOTATIONS: Final = frozenset({"title", "description", "$comment", "default", "examples"})
_LIMITS: Final = frozenset(
    [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    ]
)
_LISTS_OF_SCHEMAS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMAS: Final = frozenset({"not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames"})
_PLAIN: Final = frozenset({"type", "enum", "const", "required", "pattern", "$schema"})
KEYWORDS: Final = _ANNOTATIONS | _LIMITS | _LISTS_OF_SCHEMAS | _SCHEMAS | _PLAIN | {"properties"}
_KEYWORDS_OF: Final = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength", "pattern"),
    "array": ("minItems", "maxItems", "items", "prefixItems", "contains"),
    "object": ("minProperties", "maxProperties", "properties", "required", "additionalProperties", "propertyNames"),
}
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_TYPES: Final = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def check_schema(schema: Any, pointer: str = "") -> None:
    """Raise `InvalidInput`, in words and with a pointer below `pointer`, unless `schema` is an object of the closed
    list of keywords that can be judged in a bounded time."""
    if not isinstance(schema, Mapping):
        raise InvalidInput("A JSON Schema is an object.", pointer=pointer)
    strict_json.check_storable(schema, pointer)
    if len(strict_json.canonical(schema)) > MAX_SCHEMA_BYTES:
        raise InvalidInput(f"A schema has at most {MAX_SCHEMA_BYTES:,} bytes.", pointer=pointer)
    _check_keywords(schema, pointer, MAX_SCHEMA_DEPTH)
    error = next(_validator_class()(_validator_class().META_SCHEMA).iter_errors(schema), None)
    if error is not None:
        path = "".join(f"/{_escape(step)}" for step in error.absolute_path)
        raise InvalidInput(f"This is no JSON Schema: {error.message[:200]}", pointer=pointer + path)


def argument_problems(
    schema: Mapping[str, Any], arguments: Mapping[str, Any], *, max_values: int = MAX_VALUES
) -> list[str]:
    """Why `arguments` do not fit a schema that `check_schema` has passed, in words, a few at most; empty if they fit.
    What cannot be judged does not fit, such as arguments of more than `max_values` keys and values.

    A limit that says nothing of values of another type, such as `maximum` of a text, does not let these pass, but for
    null, unless a `type` stands beside it: tools may read a number in a text.
    """
    if count_values(arguments) > max_values:
        return ["there are more values than can be judged"]
    plain, typed = _compile(strict_json.canonical(schema))
    try:
        errors = list(islice(plain.iter_errors(arguments), _MAX_PROBLEMS))
        return [_describe(error) for error in errors or islice(typed.iter_errors(arguments), _MAX_PROBLEMS)]
    except (ArithmeticError, RecursionError, ValueError, TypeError) as error:
        return [f"the arguments could not be judged ({type(error).__name__})"]


def count_values(value: Any) -> int:
    """How many keys and values there are in a JSON value, itself included."""
    total, stack = 0, [value]
    while stack:
        item = stack.pop()
        total += 1
        if isinstance(item, Mapping):
            total += len(item)
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return total


def argument_path(steps: Sequence[Any]) -> str:
    """The inner_pointer of a value in the arguments as people read it, such as `to` or `rows[2].amount`; "" for all."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text if len(text) <= 80 else text[:79] + "…"


# --- validation of schemas --------------------------------------------------------------------------------------------


def _check_keywords(schema: Any, pointer: str, depth: int) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        raise InvalidInput("A JSON Schema is an object.", pointer=pointer)
    if not depth:
        raise InvalidInput(f"A schema is nested at most {MAX_SCHEMA_DEPTH} levels deep.", pointer=pointer)
    for keyword, value in schema.items():
        keyword_pointer = f"{pointer}/{_escape(keyword)}"
        if keyword not in KEYWORDS:
            raise InvalidInput(
                f"The keyword {keyword[:60]!r} is not supported here. {_hint(keyword)}", pointer=keyword_pointer
            )
        if keyword == "pattern":
            check_pattern(value, keyword_pointer)
        elif keyword == "$schema" and value != _DIALECT:
            raise InvalidInput("The dialect is JSON Schema 2020-12; leave $schema out.", pointer=keyword_pointer)
        for inner_pointer, inner in _subschemas(keyword, value, keyword_pointer):
            _check_keywords(inner, inner_pointer, depth - 1)


def _hint(keyword: str) -> str:
    if keyword in ("$ref", "$defs", "$dynamicRef", "definitions"):
        return "A schema refers to nothing: write it out."
    if keyword == "format":
        return "Providers and libraries disagree on formats: use pattern."
    return f"There are {', '.join(sorted(KEYWORDS - _ANNOTATIONS - {'$schema'}))}."


def _subschemas(keyword: str, value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    if keyword in _SCHEMAS:
        yield pointer, value
    elif keyword in _LISTS_OF_SCHEMAS and isinstance(value, list):
        yield from ((f"{pointer}/{index}", item) for index, item in enumerate(value))
    elif keyword == "properties" and isinstance(value, Mapping):
        yield from ((f"{pointer}/{_escape(name)}", item) for name, item in value.items())


def check_pattern(pattern: Any, pointer: str) -> None:
    """Raise `InvalidInput` unless `pattern` is a regular expression that takes linear time."""
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN_CHARACTERS:
        raise InvalidInput(f"A pattern has at most {MAX_PATTERN_CHARACTERS} characters.", pointer=pointer)
    try:
        _compile_pattern(pattern)
    except SchemaError:
        raise InvalidInput(
            "This pattern cannot be used: it is no regular expression, needs look-around or back references, which "
            "take unbounded time, or is too large.",
            pointer=pointer,
        ) from None


def _escape(step: Any) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


# --- judging of arguments ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _compile_pattern(pattern: str) -> SchemaValidator:
    """A matcher in linear time: Python's own engine can take minutes for a short text."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


@lru_cache(maxsize=256)
def _compile(schema: bytes) -> tuple[Any, Any]:
    parsed = strict_json.loads(schema)
    return _validator_class()(parsed), _typed_validator_class()(parsed)


@cache
def _validator_class() -> Any:
    # Imported late: only releases with such a schema need it, and it takes 0.1 s.
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import ValidationError as Problem

    def match_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not matches_pattern(pattern, instance):
            yield Problem("does not match")

    return validators.extend(Draft202012Validator, {"pattern": match_pattern})


@cache
def _typed_validator_class() -> Any:
    """Judges keywords as written for values of their type only."""
    from jsonschema import validators
    from jsonschema.exceptions import ValidationError as Problem

    def require(kind: str, judge: Any) -> Any:
        def judge_typed(validator: Any, limit: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
            if instance is None or "type" in schema or validator.is_type(instance, kind):
                yield from judge(validator, limit, instance, schema) or ()
            else:
                yield Problem("has another type", validator="type", validator_value=kind)

        return judge_typed

    plain = _validator_class()
    return validators.extend(
        plain, {name: require(kind, plain.VALIDATORS[name]) for kind, names in _KEYWORDS_OF.items() for name in names}
    )


def matches_pattern(pattern: str, text: str, *, longest: int = MAX_MATCHED_CHARACTERS) -> bool:
    """Whether a pattern that `check_pattern` has passed is found in `text`; never in one of more than `longest`
    characters."""
    if len(text) > longest:
        return False
    try:
        _compile_pattern(pattern).validate_python(text)
    except ValidationError:
        return False
    return True


def _describe(error: Any) -> str:
    path = argument_path(error.absolute_path)
    name = f"`{path}`" if path else "the call"
    limit = error.validator_value
    if error.validator == "type":
        limit = " or ".join(_TYPES.get(kind, kind) for kind in ([limit] if isinstance(limit, str) else limit))
    elif error.validator == "required":
        limit = ", ".join(f"`{one}`" for one in limit if one not in error.instance)
    template = _PROBLEMS.get(error.validator)
    return f"{name} {template.format(limit)}" if template else f"{name} does not fit {error.validator or 'the schema'}"


_PROBLEMS: Final = {
    "type": "is not {}",
    "enum": "is none of the values that may pass",
    "const": "is none of the values that may pass",
    "minimum": "is below {}",
    "maximum": "is above {}",
    "exclusiveMinimum": "is not above {}",
    "exclusiveMaximum": "is not below {}",
    "minLength": "has fewer than {} characters",
    "maxLength": "has more than {} characters",
    "minItems": "has fewer than {} items",
    "maxItems": "has more than {} items",
    "minProperties": "has fewer than {} keys",
    "maxProperties": "has more than {} keys",
    "pattern": "does not match {}",
    "required": "lacks {}",
    "additionalProperties": "has arguments that may not be there",
}
