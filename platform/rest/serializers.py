"""Strict serializers for input: no type conversions, and unknown fields are errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from rest_framework import serializers

from foundation.errors import InvalidInput
from rest.errors import InvalidFields
from rest.query_params import parse_moment, read_id

Fault = tuple[str, str, str]


class TextField(serializers.CharField):
    """Text, unchanged. Blank text is allowed; the service functions check lengths."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_blank": True, "trim_whitespace": False, **options})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class IdField(serializers.Field):  # type: ignore[type-arg]  # not generic at run time
    """A UUID in canonical form."""

    default_error_messages = {"invalid": "A UUID is expected."}

    def to_internal_value(self, data: Any) -> UUID:
        try:
            return read_id("", data) if isinstance(data, str) else self.fail("invalid")
        except InvalidInput:
            self.fail("invalid")

    def to_representation(self, value: UUID) -> str:
        return str(value)


class ObjectField(serializers.Field):  # type: ignore[type-arg]
    """A JSON object of any content."""

    default_error_messages = {"invalid": "An object is expected."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        return data if isinstance(data, dict) else self.fail("invalid")

    def to_representation(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return dict(value)


class BooleanField(serializers.Field):  # type: ignore[type-arg]
    """`true` or `false`, nothing that only looks like it."""

    default_error_messages = {"invalid": "true or false is expected."}

    def to_internal_value(self, data: Any) -> bool:
        return data if isinstance(data, bool) else self.fail("invalid")

    def to_representation(self, value: bool) -> bool:
        return value


class IntegerField(serializers.IntegerField):
    """A whole number, not one in a text."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class MomentField(serializers.Field):  # type: ignore[type-arg]
    """A moment with its zone, ISO 8601."""

    default_error_messages = {"invalid": "A moment such as 2026-11-22T08:15:30Z is expected."}

    def to_internal_value(self, data: Any) -> datetime:
        try:
            return parse_moment(data) if isinstance(data, str) else self.fail("invalid")
        except ValueError:
            self.fail("invalid")

    def to_representation(self, value: datetime) -> str:
        return value.isoformat()


class ChoiceField(serializers.ChoiceField):
    """One of a set of strings."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class Input(serializers.Serializer):  # type: ignore[type-arg]
    """The base of all serializers of request bodies. Unknown fields are errors."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(self.initial_data) - set(self.fields))
        if unknown:
            raise serializers.ValidationError(
                {name[:100]: serializers.ErrorDetail("There is no such field here.", "unknown") for name in unknown}
            )
        return attrs


def read_input(kind: type[Input], body: Mapping[str, Any]) -> dict[str, Any]:
    """The validated fields of `body`. Raises `InvalidFields` with all errors."""
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
    """`name` escaped for a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
