"""A mail server of our own: takes mail on a loopback port, keeps it, and refuses what it is told to refuse."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


class Mailbox:
    """A running server: `with Mailbox() as box`. `refuse` maps an address to what RCPT or DATA answers."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.said: list[str] = []
        self.logins: list[str] = []
        self.refuse_recipient: dict[str, str] = {}
        self.refuse_content: Callable[[EmailMessage], str | None] = lambda _message: None
        self.greeting = "220 mailbox"
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _handler(self), bind_and_activate=True)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Mailbox:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def text_to(self, address: str) -> str:
        """The plain text of the newest mail to `address`."""
        part = next(one for one in reversed(self.messages) if one["To"] == address).get_body(("plain",))
        assert part is not None
        return str(part.get_content())


def _handler(box: Mailbox) -> type[socketserver.StreamRequestHandler]:
    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say(box.greeting)
            while line := self.rfile.readline():
                words = line.decode("utf-8", "replace").rstrip("\r\n")
                box.said.append(words)
                if not self.answer(words):
                    return

        def answer(self, words: str) -> bool:
            verb = words.partition(" ")[0].upper()
            if verb == "EHLO":
                self.say("250-mailbox", "250-AUTH PLAIN", "250 8BITMIME")
            elif verb == "AUTH":
                box.logins.append(words)
                self.say("235 welcome")
            elif verb == "RCPT":
                address = words.partition("<")[2].partition(">")[0]
                self.say(box.refuse_recipient.get(address, "250 yes"))
            elif verb == "DATA":
                self.say("354 go on")
                self.take()
            elif verb == "QUIT":
                self.say("221 bye")
                return False
            else:
                self.say("250 yes")
            return True

        def take(self) -> None:
            lines = []
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                lines.append(line.removeprefix(b"."))
            message: Any = message_from_bytes(b"".join(lines), policy=policy.default)
            refusal = box.refuse_content(message)
            if refusal is None:
                box.messages.append(message)
            self.say(refusal or "250 taken")

        def say(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    return Talk
