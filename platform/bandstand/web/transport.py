"""Requests that came by the wrong transport: without HTTPS, or without the upgrade that a websocket needs."""

import structlog

from bandstand.web.asgi_types import Application, Receive, Scope, Send
from bandstand.web.error_responses import PROGRAMS, ErrorResponse
from foundation.ids import new_id
from foundation.request_ids import current_request_id

log = structlog.get_logger("bandstand.web")

SOCKETS = "/ws/"
NO_HTTPS = ErrorResponse(
    400,
    "https_required",
    "This request came over plain HTTP. Use https; a proxy that ends TLS has to set X-Forwarded-Proto: https, and "
    "BANDSTAND_TRUSTED_PROXIES has to name the proxy.",
)
NO_UPGRADE = ErrorResponse(
    426,
    "upgrade_required",
    "This address speaks websocket: the request needs Upgrade: websocket and Connection: Upgrade, and a proxy in front "
    "has to pass them on.",
)


class TransportMiddleware:
    """Answers programs that came over plain HTTP where `https` is the address of this installation: they would follow
    Django's redirect with another method, or for ever, where a proxy does not say that its client came by TLS. The log
    says once which header that proxy lacks. A plain GET of a websocket's address learns what is missing."""

    def __init__(self, app: Application, *, https: bool) -> None:
        self.app = app
        self.https = https
        self._has_logged = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await _answer(scope, send, refusal)

    def _refusal(self, scope: Scope) -> ErrorResponse | None:
        path = scope["path"]
        if path.startswith(SOCKETS):
            return NO_UPGRADE
        if not self.https or scope.get("scheme") == "https":
            return None
        if scope.get("proxy") and not scope["forwarded_proto"] and not self._has_logged:
            self._has_logged = True
            log.error("proxy_header.not_found", header="X-Forwarded-Proto", proxy=scope["proxy"], path=path)
        return NO_HTTPS if path.startswith(PROGRAMS) else None


async def _answer(scope: Scope, send: Send, refusal: ErrorResponse) -> None:
    log.warning("request.refused", rule=refusal.code, status=refusal.status, actor=None, path=scope["path"])
    content = refusal.content(scope["path"], current_request_id() or new_id())
    headers = refusal.headers(scope["path"], content)
    if refusal is NO_UPGRADE:
        headers += [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})
