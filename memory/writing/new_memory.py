"""What a memory is made of before it is stored: checked text, provenance, and the digest that recognizes it again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize
from uuid import UUID

from foundation import strict_json
from foundation.errors import InvalidInput, TooLarge
from foundation.names import clean_name

MAX_TEXT_BYTES = 8 * 1024
MAX_SLOT = 64
MAX_METADATA_BYTES = 4 * 1024
MAX_SPEAKER = 100
MAX_ORIGIN = 300

# Everything but tabs and ends of lines: a memory is read by models and shown in terminals.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SPACES = re.compile(r"\s+")
_NOT_IN_SLOT = re.compile(r"[^\w.-]+")
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Provenance:
    """The rows that a memory comes from, which may be gone by now; `origin` is what a tool or an import names."""

    agent: UUID | None = None
    session: UUID | None = None
    turn: UUID | None = None
    message: UUID | None = None
    step: int | None = None
    origin: str = ""


NO_PROVENANCE = Provenance()


@dataclass(frozen=True, slots=True)
class Remembered:
    """What became of something to remember: the memory that holds it now, whether it is new, and what it superseded."""

    id: UUID
    is_new: bool
    superseded: tuple[UUID, ...] = ()


def check_text(text: Any, *, pointer: str = "/text") -> str:
    """The text of a fact: in NFC, without control characters and outer white space.

    Raises `InvalidInput` for what is empty or cannot be stored, `TooLarge` above 8 KiB.
    """
    if not isinstance(text, str):
        raise InvalidInput("Text is expected.", pointer=pointer)
    # NFC makes no text many times shorter, so what is far too long need not be looked at.
    if len(text) > 4 * MAX_TEXT_BYTES:
        raise TooLarge(f"A memory may have at most {MAX_TEXT_BYTES} bytes.", pointer=pointer)
    strict_json.check_storable(text, pointer)
    cleaned = normalize("NFC", _CONTROLS.sub(" ", text)).strip()
    if not cleaned:
        raise InvalidInput("There is nothing to remember.", pointer=pointer)
    if len(cleaned.encode()) > MAX_TEXT_BYTES:
        raise TooLarge(f"A memory may have at most {MAX_TEXT_BYTES} bytes.", pointer=pointer)
    return cleaned


def check_slot(slot: Any) -> str:
    """The name of a fact in its one spelling, such as `home_city`; "" for none. Raises `InvalidInput`."""
    if not isinstance(slot, str) or len(slot) > 4 * MAX_SLOT:
        raise InvalidInput(f"A name of at most {MAX_SLOT} characters is expected.", pointer="/slot")
    strict_json.check_storable(slot, "/slot")
    cleaned = _NOT_IN_SLOT.sub("_", normalize("NFKC", slot).casefold()).strip("_")
    if len(cleaned) > MAX_SLOT:
        raise InvalidInput(f"A name of at most {MAX_SLOT} characters is expected.", pointer="/slot")
    return cleaned


def check_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of the metadata. Raises `InvalidInput` for what is no JSON object, `TooLarge` above 4 KiB."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidInput("An object is expected.", pointer="/metadata")
    strict_json.check_storable(dict(metadata), "/metadata")
    if len(strict_json.dumps(dict(metadata))) > MAX_METADATA_BYTES:
        raise TooLarge(f"Metadata may have at most {MAX_METADATA_BYTES} bytes.", pointer="/metadata")
    return dict(metadata)


def clean_speaker(name: str) -> str:
    """A name as a memory carries it: one visible line of at most 100 characters."""
    return clean_name(name)[:MAX_SPEAKER]


def check_importance(importance: float) -> float:
    """`importance` if it is from 0 to 1. Raises `InvalidInput`."""
    if isinstance(importance, bool) or not isinstance(importance, int | float) or not 0 <= importance <= 1:
        raise InvalidInput("A number from 0 to 1 is expected.", pointer="/importance")
    return float(importance)


def fact_key(text: str, slot: str) -> bytes:
    """The digest by which a fact is recognized when it is told again: case, spaces and a final period do not count."""
    normalized = _SPACES.sub(" ", normalize("NFKC", text).casefold()).strip().rstrip(".!")
    return _digest(f"fact\n{slot}\n{normalized}")


def episode_key(message: UUID, chunk: int) -> bytes:
    """The digest of a part of a message: each is remembered once."""
    return _digest(f"episode\n{message}\n{chunk}")


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
