"""Cookies that would keep the process busy are dropped before Django reads them."""

from bandstand.web.asgi_types import Application, Receive, Scope, Send


class CookieFilterMiddleware:
    """Drops cookies with a backslash, which no value may hold (RFC 6265, section 4.1.1), and ours never do.

    Python before 3.11.10 and 3.12.6 unquotes them in quadratic time (python/cpython#123067): 16 KB took 1.6 s.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", ())
        if any(name == b"cookie" and b"\\" in value for name, value in headers):
            scope = {**scope, "headers": [(name, _filter(name, value)) for name, value in headers]}
        await self.app(scope, receive, send)


def _filter(name: bytes, value: bytes) -> bytes:
    return b";".join(pair for pair in value.split(b";") if b"\\" not in pair) if name == b"cookie" else value
