"""Style sheets, scripts and fonts, from the copy that `bandstand.static_collection` makes."""

import asyncio
from functools import cached_property
from pathlib import Path
from typing import Any

from whitenoise import WhiteNoise

from bandstand.static_collection import VERSION, collect, copies
from bandstand.web.asgi_types import Application, Receive, Scope, Send

# For addresses without a version, that people and programs have written down.
UNVERSIONED_SECONDS = 60


class StaticFiles:
    """Answers for what is below `prefix`; everything else goes to `app`. The copies are in `folder`.

    WhiteNoise knows the files, their headers and encodings. Its Django middleware is synchronous only and would push
    every request through a thread, so it is asked from here.
    """

    def __init__(self, app: Application, *, folder: Path, prefix: str) -> None:
        self.app = app
        self.folder = folder
        self.prefix = prefix

    async def load(self) -> None:
        """Make the copy, where it is not there, and read what is in it; else the first request would wait for that."""
        await asyncio.to_thread(lambda: self._files)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = scope["type"] == "http" and scope["path"].startswith(self.prefix)
        file = self._find(scope["path"].removeprefix(self.prefix)) if known else None
        if file is None:
            await self.app(scope, receive, send)
            return
        status, headers, body = await asyncio.to_thread(_read, file, scope["method"], _environ(scope))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _find(self, name: str) -> Any:
        """The file of this name, with or without a version before it; None: there is none.

        Where several machines are brought up to date one after the other, a new page may ask an old process. It gets
        what there is, and nobody keeps that.
        """
        immutable, unversioned, foreign = self._files
        if file := immutable.get(name) or unversioned.get(name):
            return file
        version, _, rest = name.partition("/")
        return foreign.get(rest) if VERSION.fullmatch(version) else None

    @cached_property
    def _files(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        current = collect(self.folder)
        immutable: dict[str, Any] = {}
        for copy in copies(self.folder):
            immutable |= {f"{copy.name}/{name}": file for name, file in _served(copy, WhiteNoise.FOREVER).items()}
        return immutable, _served(current, UNVERSIONED_SECONDS), _served(current, None)


def _served(copy: Path, max_age: int | None) -> dict[str, Any]:
    """WhiteNoise's files of a copy by name, with the headers for `max_age` seconds in a cache; None: in none."""
    served = WhiteNoise(
        application=None,
        max_age=max_age,
        immutable_file_test=lambda _path, _url: max_age == WhiteNoise.FOREVER,
        add_headers_function=None if max_age else _forbid_storing,
    )
    served.add_files(str(copy), "/")
    return {url.removeprefix("/"): file for url, file in served.files.items()}


def _forbid_storing(headers: Any, _path: str, _url: str) -> None:
    headers["Cache-Control"] = "no-store"


def _environ(scope: Scope) -> dict[str, str]:
    environ = {
        f"HTTP_{name.decode('latin1').upper().replace('-', '_')}": value.decode("latin1")
        for name, value in scope["headers"]
    }
    if (tag := environ.get("HTTP_IF_NONE_MATCH", "")).startswith("W/"):
        # A proxy that compresses makes tags weak, and WhiteNoise (6.12) compares them as they stand.
        environ["HTTP_IF_NONE_MATCH"] = tag.removeprefix("W/")
    return environ


def _read(file: Any, method: str, environ: dict[str, str]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    response = file.get_response(method, environ)
    headers = [(name.lower().encode("latin1"), value.encode("latin1")) for name, value in response.headers]
    if response.file is None:
        return int(response.status), headers, b""
    with response.file:
        return int(response.status), headers, response.file.read()
