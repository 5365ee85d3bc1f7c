"""Strict parsing of query and path parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest

from rest.errors import InvalidFields, invalid_parameter

Reader = Callable[[str], Any]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAX_SEARCH_LENGTH = 200
_SLUG = re.compile(r"[-a-zA-Z0-9_]{1,63}")


def read_query(request: HttpRequest, **readers: Reader) -> dict[str, Any]:
    """The values of the query parameters, by name; absent ones are left out.

    Raises `InvalidFields` with every parameter that is unknown, repeated or invalid by its reader.
    """
    values: dict[str, Any] = {}
    faults = []
    for name, texts in request.GET.lists():
        reader = readers.get(name)
        if reader is None:
            faults.append((f"?{name[:100]}", "unknown", "There is no such parameter here."))
        elif len(texts) != 1:
            faults.append((f"?{name}", "repeated", "This parameter may be given once."))
        else:
            try:
                values[name] = reader(str(texts[0]))
            except ValueError as error:
                faults.append((f"?{name}", "invalid", str(error)))
    if faults:
        raise InvalidFields(faults)
    return values


def bounded_integer(*, minimum: int, maximum: int) -> Reader:
    """A reader of decimal numbers without sign, spaces or leading zeros, from `minimum` to `maximum`."""

    def read(text: str) -> int:
        if _NUMBER.fullmatch(text) and minimum <= int(text) <= maximum:
            return int(text)
        raise ValueError(f"A whole number from {minimum} to {maximum} is expected.")

    return read


def one_of(*choices: str) -> Reader:
    """A reader of one of these texts."""

    def read(text: str) -> str:
        if text in choices:
            return text
        raise ValueError(f"One of {', '.join(choices)} is expected.")

    return read


seq_parameter = bounded_integer(minimum=0, maximum=2**63 - 1)


def last_event_id(request: HttpRequest) -> int | None:
    """The sequence number in Last-Event-ID, from which a stream resumes, or None. Raises `InvalidFields`."""
    header = request.headers.get("Last-Event-ID")
    try:
        return None if header is None else int(seq_parameter(header.strip()))
    except ValueError as error:
        raise invalid_parameter("Last-Event-ID", str(error)) from None


def slug(text: str) -> str:
    """A reader of slugs. Raises `ValueError`."""
    if not _SLUG.fullmatch(text):
        raise ValueError("A slug is expected.")
    return text


def search_text(text: str) -> str:
    """A reader of search terms. Raises `ValueError`."""
    if not text.strip() or len(text) > _MAX_SEARCH_LENGTH or _UNSTORABLE.search(text):
        raise ValueError(f"1 to {_MAX_SEARCH_LENGTH} characters are expected.")
    return text


def parse_moment(text: str) -> datetime:
    """A reader of moments with their zone, ISO 8601; in UTC. Raises `ValueError`."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        # In the calendar also in UTC, as the database compares it.
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("A moment such as 2026-11-22T08:15:30Z is expected.") from None


def read_slug(name: str, text: str) -> str:
    """A slug in the path. Raises `InvalidFields`."""
    try:
        return slug(text)
    except ValueError as error:
        raise invalid_parameter(f"{{{name}}}", str(error)) from None


def read_id(name: str, text: str) -> UUID:
    """A UUID in the path, in canonical form. Raises `InvalidFields`."""
    try:
        return uuid(text)
    except ValueError as error:
        raise invalid_parameter(f"{{{name}}}", str(error)) from None


def uuid(text: str) -> UUID:
    """A reader of UUIDs in canonical form. Raises `ValueError`."""
    if not _UUID.fullmatch(text):
        raise ValueError("A UUID is expected.")
    return UUID(text)
