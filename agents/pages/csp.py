"""The content security policies: same origin only, no inline code, no frames."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADER = "Content-Security-Policy"
APP_NAME = "pages"
CONSOLE = "admin"

_DIRECTIVES = (
    "default-src 'self'",
    "style-src 'self'",
    # A model's text may contain images of any site; loading one would leak the conversation.
    "img-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)


# The console uses Alpine, which django-unfold brings: it evaluates attributes with `eval` and sets inline styles.
# No script or stylesheet of its pages is inline, and user input reaches them escaped.
_SCRIPTS = {
    APP_NAME: "script-src 'self'",
    CONSOLE: "script-src 'self' 'unsafe-eval'; style-src-attr 'unsafe-inline'",
}


class ContentSecurityPolicy:
    """Middleware that adds the policy to responses of the pages and the console; others set their own."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        response = self.get_response(request)
        if isinstance(response, HttpResponseBase):
            return _with_policy(request, response)
        return self._apply_async(request, response)

    @staticmethod
    async def _apply_async(request: HttpRequest, response: Awaitable[HttpResponseBase]) -> HttpResponseBase:
        return _with_policy(request, await response)


def _with_policy(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    match = request.resolver_match
    if match is not None and match.app_name in _SCRIPTS and HEADER not in response:
        response[HEADER] = "; ".join((*_DIRECTIVES, _SCRIPTS[match.app_name], _connections(request)))
    return response


def _connections(request: HttpRequest) -> str:
    # Not every browser counts the websocket of the same host as 'self'.
    scheme = "wss" if request.is_secure() else "ws"
    return f"connect-src 'self' {scheme}://{request.get_host()}"
