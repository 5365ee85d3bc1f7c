"""Rules that several servers share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")


class Refused(Exception):
    """What a server answers with 400, in its words."""


def refuse_unless(holds: object, words: str) -> None:
    if not holds:
        raise Refused(words)


def refuse_blank(text: Any, where: str) -> None:
    refuse_unless(isinstance(text, str), f"{where}: a string is expected")
    refuse_unless(text.strip(), f"{where} must not be empty")


def refuse_unknown(value: dict[str, Any], known: Iterable[str], where: str) -> None:
    unknown = value.keys() - set(known)
    refuse_unless(not unknown, f"{where}: property {', '.join(sorted(unknown))} is unsupported")


def refuse_repeated(ids: Sequence[str]) -> None:
    refuse_unless(len(set(ids)) == len(ids), "the ids of tool calls must be unique")


def refuse_bad_arguments(arguments: Any) -> None:
    try:
        value = json.loads(arguments, parse_constant=lambda _: None)
    except (TypeError, ValueError):
        value = None
    refuse_unless(isinstance(value, dict), "the arguments of a call must be a JSON object")
