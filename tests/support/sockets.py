"""A websocket client on the application itself, without a server: what tests of frames start from."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.db import transaction
from django.test import Client

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.journal.locked_writes import append_locked, lock_session
from agents.models import AgentSession
from agents.sessions import create_session
from agents.ws.routing import websocket_urlpatterns
from foundation.db_threads import in_db_thread
from tests.support.people import agent, key_of, person

HOST = "localhost:8000"
ORIGIN = f"http://{HOST}"
PATIENCE_SECONDS = 5.0

Headers = list[tuple[bytes, bytes]]


def application() -> Any:
    return URLRouter(websocket_urlpatterns)


def key_headers(plain: str) -> Headers:
    return [(b"host", HOST.encode()), (b"authorization", f"Bearer {plain}".encode())]


def login_headers(session_key: str, origin: str | None = ORIGIN, host: str = HOST) -> Headers:
    cookie = f"{settings.SESSION_COOKIE_NAME}={session_key}"
    headers = [(b"host", host.encode()), (b"cookie", cookie.encode())]
    return headers + ([(b"origin", origin.encode())] if origin is not None else [])


def login_of(user: User) -> str:
    """The session cookie of a browser in which `user` is logged in."""
    client = Client()
    client.force_login(user)
    return str(client.cookies[settings.SESSION_COOKIE_NAME].value)


class Owner:
    """A person with a key, and one session of theirs. `login` is a browser's, where a test makes one."""

    login: str = ""

    def __init__(self, name: str = "ada", slug: str = "demo") -> None:
        self.user = person(name, Role.USER)
        self.key = key_of(self.user)
        self.actor: Actor = user_actor(self.user)
        agent(slug)
        self.session: AgentSession = create_session(self.actor, agent_slug=slug, title="A test")


def write_events(session_id: UUID, events: Sequence[tuple[str, dict[str, Any]]]) -> int:
    """Add to the log of a session; the seq of the last event."""
    with transaction.atomic():
        session = lock_session(session_id)
        assert session is not None
        return append_locked(session, events)


async def deltas(session_id: UUID, count: int, word: str = "x") -> int:
    events: list[tuple[str, dict[str, Any]]] = [("message.delta", {"text": f"{word}{n}"}) for n in range(count)]
    return await in_db_thread(write_events, session_id, events)


class Socket:
    """One websocket. Frames come as dicts; a close is an AssertionError for whoever waits for a frame."""

    def __init__(
        self, session: UUID | str, headers: Headers, *, app: Any = None, protocols: Sequence[str] = ("bandstand.v1",)
    ) -> None:
        path = f"/ws/sessions/{session}/"
        self.communicator = WebsocketCommunicator(
            app or application(), path, headers=headers, subprotocols=list(protocols)
        )

    async def __aenter__(self) -> "Socket":
        accepted, self.protocol = await self.communicator.connect(PATIENCE_SECONDS)
        assert accepted
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.communicator.disconnect(timeout=PATIENCE_SECONDS)

    async def send(self, frame: Any) -> None:
        await self.send_text(frame if isinstance(frame, str) else json.dumps(frame))

    async def send_text(self, text: str) -> None:
        await self.communicator.send_input({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        await self.communicator.send_input({"type": "websocket.receive", "bytes": data})

    async def output(self) -> dict[str, Any]:
        output: dict[str, Any] = await self.communicator.receive_output(PATIENCE_SECONDS)
        return output

    async def receive(self) -> dict[str, Any]:
        """The next frame."""
        output = await self.output()
        assert output["type"] == "websocket.send", output
        frame: dict[str, Any] = json.loads(output["text"])
        return frame

    async def until(self, kind: str) -> dict[str, Any]:
        """The next frame of this type; others before it are dropped."""
        while (frame := await self.receive())["type"] != kind:
            pass
        return frame

    async def events(self, count: int) -> list[dict[str, Any]]:
        """The next `count` frames, which must all be events."""
        frames = [await self.receive() for _ in range(count)]
        assert {frame["type"] for frame in frames} == {"event"}, frames
        return frames

    async def closed(self) -> int:
        """The code of the close that comes next; frames before it are dropped."""
        while (output := await self.output())["type"] != "websocket.close":
            pass
        return int(output["code"])

    async def silent(self) -> bool:
        """Whether everything that was sent is answered: a ping comes back as the very next frame."""
        await self.send({"type": "ping"})
        return bool((await self.receive())["type"] == "pong")
