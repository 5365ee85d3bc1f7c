"""Serializers for input that guess nothing: a number is no text, and an unknown field is a fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from rest_framework import serializers

from foundation.errors import InvalidInput
from rest.errors import InvalidFields
from rest.query_params import read_id

Fault = tuple[str, str, str]


class Text(serializers.CharField):
    """Text, kept byte for byte. Whether it may be empty or how long it may be is the verb's to say."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_blank": True, "trim_whitespace": False, **options})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class Id(serializers.Field):  # type: ignore[type-arg]  # not generic at run time
    """A UUID in the usual spelling."""

    default_error_messages = {"invalid": "A UUID is expected."}

    def to_internal_value(self, data: Any) -> UUID:
        try:
            return read_id("", data) if isinstance(data, str) else self.fail("invalid")
        except InvalidInput:
            self.fail("invalid")

    def to_representation(self, value: UUID) -> str:
        return str(value)


class Object(serializers.Field):  # type: ignore[type-arg]
    """A JSON object of any content."""

    default_error_messages = {"invalid": "An object is expected."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        return data if isinstance(data, dict) else self.fail("invalid")

    def to_representation(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return dict(value)


class Choice(serializers.ChoiceField):
    """One of a few words."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class Input(serializers.Serializer):  # type: ignore[type-arg]
    """The body of a request."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(self.initial_data) - set(self.fields))
        if unknown:
            raise serializers.ValidationError(
                {name[:100]: serializers.ErrorDetail("There is no such field here.", "unknown") for name in unknown}
            )
        return attrs


def read_input(kind: type[Input], body: Mapping[str, Any]) -> dict[str, Any]:
    """The checked fields of `body`. Raises `InvalidFields` naming every fault."""
    serializer = kind(data=body)
    if not serializer.is_valid():
        raise InvalidFields(list(_faults(serializer.errors, "")))
    return dict(serializer.validated_data)


def _faults(errors: Any, pointer: str) -> Iterator[Fault]:
    if isinstance(errors, Mapping):
        for name, nested in errors.items():
            yield from _faults(nested, f"{pointer}/{_escaped(str(name))}")
    elif isinstance(errors, list):
        for nested in errors:
            yield from _faults(nested, pointer)
    else:
        yield pointer, str(getattr(errors, "code", "invalid")), str(errors)


def _escaped(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
