"""The URLs of the websocket."""

from __future__ import annotations

from django.urls import URLPattern, path, re_path

from agents.ws.auth import AuthenticationMiddleware
from agents.ws.close_codes import CloseCode, CloseEverySocket
from agents.ws.consumer import SessionSocket

websocket_urlpatterns: list[URLPattern] = [
    path("ws/sessions/<uuid:session_id>/", AuthenticationMiddleware(SessionSocket.as_asgi())),  # type: ignore[arg-type]
    # Without this an unknown URL would be logged as an internal error.
    re_path(r"", CloseEverySocket(CloseCode.UNKNOWN_SESSION)),  # type: ignore[arg-type]
]
