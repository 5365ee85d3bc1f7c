"""Static files, served directly from the packages, without `collectstatic`."""

import asyncio
from typing import Any

from whitenoise.middleware import WhiteNoiseMiddleware

from bandstand.web.asgi_types import Application, Receive, Scope, Send


class StaticFiles:
    """Serves STATIC_URL; every other request goes to `app`.

    WhiteNoise provides the files and their headers. As Django middleware it is synchronous and would run every request
    in a thread, so it is called from here.
    """

    def __init__(self, app: Application) -> None:
        self.app = app
        self.files = WhiteNoiseMiddleware()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_static = scope["type"] == "http" and scope["path"].startswith(self.files.static_prefix)
        file = self.files.files.get(scope["path"]) if is_static else None
        if file is None:
            await self.app(scope, receive, send)
            return
        status, headers, body = await asyncio.to_thread(_read, file, scope["method"], _environ(scope))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _environ(scope: Scope) -> dict[str, str]:
    return {
        f"HTTP_{name.decode('latin1').upper().replace('-', '_')}": value.decode("latin1")
        for name, value in scope["headers"]
    }


def _read(file: Any, method: str, environ: dict[str, str]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    response = file.get_response(method, environ)
    headers = [(name.lower().encode("latin1"), value.encode("latin1")) for name, value in response.headers]
    if response.file is None:
        return int(response.status), headers, b""
    with response.file:
        body = response.file.read()
    # WhiteNoise computed the length at the start; if the file has changed since, browsers would wait for missing bytes.
    headers = [(name, value) for name, value in headers if name != b"content-length"]
    return int(response.status), [*headers, (b"content-length", str(len(body)).encode())], body
