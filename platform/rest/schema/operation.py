"""Classes to declare the operations of the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rest.content_negotiation import JSON
from rest.schema.json_schema import COUNT, TEXT, Schema, described
from rest.serializers import Input


@dataclass(frozen=True, slots=True)
class Header:
    """A response header. Unless `always`, the description says when it is present."""

    name: str
    description: str
    example: str
    always: bool = True

    def when(self, condition: str) -> Header:
        """This header as one that is only there under a condition, which ends the sentence “There …”."""
        return Header(self.name, f"{self.description} There {condition}.", self.example, always=False)


LOCATION = Header("Location", "The path of what was made.", "/api/v1/turns/019ab000-0000-7000-8000-000000000002")
ETAG = Header("ETag", "The version; send it back in If-Match to change or delete.", '"1"')
REPLAYED = Header(
    "Idempotent-Replayed", "`true` when this answers a repeat of an Idempotency-Key.", "true", always=False
)
PREFERENCE_APPLIED = Header("Preference-Applied", "The wait that was granted.", "wait=30", always=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response. `shape` None: without a body."""

    status: int
    description: str
    shape: Schema | None = None
    example: Any = None
    headers: Sequence[Header] = ()
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, path parameter or request header."""

    name: str
    shape: Schema
    description: str
    where: Literal["query", "header", "path"] = "query"
    required: bool = False
    example: Any = None


@dataclass(frozen=True, slots=True)
class Body:
    """The JSON object of a request. `fields` describes exactly the fields of the serializer `reader`. None: something
    else reads it, and `required` names the fields that it must have."""

    reader: type[Input] | None
    fields: Mapping[str, Schema]
    example: Mapping[str, Any]
    may_be_empty: bool = False
    """Whether there may be no body at all."""
    at_least_one: bool = False
    """Whether an object without any field is refused."""
    required: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one URL. The generator adds the common parameters and error responses."""

    id: str
    tag: str
    summary: str
    description: str
    answers: Sequence[Answer]
    scope: Literal["read", "chat", "manage"] = "read"
    body: Body | None = None
    parameters: Sequence[Parameter] = ()
    refusals: Mapping[int, str] = field(default_factory=dict)
    """Additional error statuses and their descriptions; also to describe a common status in more detail."""
    idempotent: bool = False
    versioned: bool = False
    error: str | None = None
    """The component that all of its errors have the shape of, in place of a problem."""


LIMIT = Parameter(
    "limit",
    described(COUNT, "", minimum=1, maximum=100, default=50),
    "How many results a page has at most.",
    example=20,
)
CURSOR = Parameter(
    "cursor",
    described(TEXT, "", minLength=1),
    "Where the page begins. Follow the addresses in `next` and `previous` rather than building one.",
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    described(TEXT, "", pattern="^[\\x21-\\x7e]{1,255}$"),
    # Without an example, which Swagger UI would send, so that every second try would be a replay.
    "A word of your own for this request, such as `order-1749`: 1 to 255 visible ASCII characters. A repeat with the "
    "same key and the same body gets the first answer again and does nothing twice; with another body it is refused "
    "(422).",
    where="header",
)
IF_MATCH = Parameter(
    "If-Match",
    described(TEXT, "", pattern=r'^(\*|"[0-9]{1,9}")$'),
    "The ETag that you have read. It is refused (412) when somebody changed the row since; `*` changes any version.",
    where="header",
    required=True,
    example='"1"',
)
PREFER = Parameter(
    "Prefer",
    TEXT,
    "`wait=30` answers when the turn has ended, or after so many seconds (at most 60). Other preferences are ignored.",
    where="header",
    example="wait=30",
)
