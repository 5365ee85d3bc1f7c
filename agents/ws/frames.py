"""The frames of `bandstand.v1`: parsing of client frames, strict, and building of server frames."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agents.domain.serialization import error_frame
from foundation import strict_json
from foundation.errors import BandstandError, InvalidInput, Malformed
from foundation.sentinels import UNSET, Unset

SUBPROTOCOL = "bandstand.v1"
MAX_FRAME_BYTES = 256 * 1024

_MAX_SEQ = 2**63 - 1
_CLIENT_MSG_ID = re.compile(r"[\x21-\x7e]{1,255}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Resume:
    """Send what follows event `after`, then go on live."""

    after: int


@dataclass(frozen=True, slots=True)
class MessageCreate:
    """`parent` starts a branch after that message, None at the root; UNSET continues the conversation at its end."""

    client_msg_id: str
    text: str
    parent: UUID | Unset | None = UNSET


@dataclass(frozen=True, slots=True)
class TurnCancel:
    """Cancel the turn with this id."""

    turn: UUID


@dataclass(frozen=True, slots=True)
class Seen:
    """The client has handled every event up to `seq`."""

    seq: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with `pong`."""


Frame = Resume | MessageCreate | TurnCancel | Seen | Ping


def read_frame(text: str) -> Frame:
    """The frame in `text`. Raises `TooLarge`, `Malformed`, `InvalidInput`, for which see `frame_ref`."""
    fields = strict_json.loads(text, max_bytes=MAX_FRAME_BYTES)
    kind = fields.pop("type", None)
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise Malformed("A frame has a `type`, one of: " + ", ".join(sorted(_READERS)) + ".")
    return read(fields)


def frame_ref(error: BandstandError) -> str | None:
    """The client's own id of the frame that `error` is about, if it could be read."""
    ref = error.context.get("ref")
    return ref if isinstance(ref, str) else None


def ready(session: UUID, seq: int) -> str:
    """The first frame of a socket; `seq` is the newest event of the session."""
    return f'{{"type":"ready","session":"{session}","seq":{seq}}}'


def message_ack(client_msg_id: str, turn: UUID | None, seq: int) -> str:
    """The acknowledgement of a message; `turn` is None while a human answers."""
    return _text({"type": "ack", "client_msg_id": client_msg_id, "turn": turn, "seq": seq})


def cancel_ack(turn: UUID, status: str) -> str:
    """The acknowledgement of a cancel request, with the status of the turn."""
    return _text({"type": "ack", "turn": turn, "status": status})


def resync(snapshot: dict[str, Any]) -> str:
    """The frame with a snapshot in place of compacted events."""
    return _text({"type": "resync", **snapshot})


def error(fault: BandstandError, ref: str | None = None) -> str:
    """The frame for an error; `ref` is the client's own id of the frame it answers."""
    return _text(error_frame(fault, ref=ref))


PONG = '{"type":"pong"}'


def _text(frame: dict[str, Any]) -> str:
    return strict_json.dumps(frame).decode()


def _resume(fields: dict[str, Any]) -> Resume:
    _refuse_unknown_fields(fields, "after")
    return Resume(after=_seq(fields, "after"))


def _seen(fields: dict[str, Any]) -> Seen:
    _refuse_unknown_fields(fields, "seq")
    return Seen(seq=_seq(fields, "seq"))


def _ping(fields: dict[str, Any]) -> Ping:
    _refuse_unknown_fields(fields)
    return Ping()


def _turn_cancel(fields: dict[str, Any]) -> TurnCancel:
    turn = fields.get("turn")
    if not isinstance(turn, str) or not _UUID.fullmatch(turn):
        raise InvalidInput("`turn` is the id of a turn.", pointer="/turn")
    _refuse_unknown_fields(fields, "turn", ref=turn)
    return TurnCancel(turn=UUID(turn))


def _message_create(fields: dict[str, Any]) -> MessageCreate:
    key, text = fields.get("client_msg_id"), fields.get("text")
    if not isinstance(key, str) or not _CLIENT_MSG_ID.fullmatch(key):
        raise InvalidInput("`client_msg_id` is 1 to 255 visible ASCII characters.", pointer="/client_msg_id")
    if not isinstance(text, str):
        raise InvalidInput("`text` is a string.", pointer="/text", ref=key)
    parent = fields.get("parent", UNSET)
    if isinstance(parent, str) and _UUID.fullmatch(parent):
        parent = UUID(parent)
    elif parent is not None and parent is not UNSET:
        raise InvalidInput("`parent` is the id of a message, or null.", pointer="/parent", ref=key)
    _refuse_unknown_fields(fields, "client_msg_id", "text", "parent", ref=key)
    return MessageCreate(client_msg_id=key, text=text, parent=parent)


def _refuse_unknown_fields(fields: dict[str, Any], *allowed: str, ref: str | None = None) -> None:
    unknown = fields.keys() - set(allowed)
    if unknown:
        raise InvalidInput("This frame has a field that it should not have.", pointer=f"/{min(unknown)}", ref=ref)


def _seq(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    # bool is an int to Python, and 1.0 is a float: neither is a sequence number.
    if type(value) is not int or not 0 <= value <= _MAX_SEQ:
        raise InvalidInput(f"`{name}` is a whole number from 0.", pointer=f"/{name}")
    return value


_READERS: dict[str, Callable[[dict[str, Any]], Frame]] = {
    "resume": _resume,
    "message.create": _message_create,
    "turn.cancel": _turn_cancel,
    "seen": _seen,
    "ping": _ping,
}
