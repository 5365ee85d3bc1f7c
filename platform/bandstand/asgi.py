"""The ASGI application of the web process, independent of the server."""

import os
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from bandstand.web.asgi_types import Application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bandstand.settings")
os.environ.setdefault("BANDSTAND_ROLE", "web")

from django.core.asgi import get_asgi_application

django = cast("Application", get_asgi_application())  # before anything that needs the app registry

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings

from agents import relay
from agents.ws.routing import websocket_urlpatterns
from bandstand.data_dir import STATIC_FOLDER
from bandstand.web.background_work import BackgroundWorkPart
from bandstand.web.body_limit import BodyLimitMiddleware
from bandstand.web.cookies import CookieFilterMiddleware
from bandstand.web.fair_requests import FairRequestsMiddleware
from bandstand.web.lifecycle import Lifespan, lifecycle
from bandstand.web.loop_liveness import LoopLiveness
from bandstand.web.proxies import ProxyHeadersMiddleware
from bandstand.web.requests import RequestIdMiddleware
from bandstand.web.static_files import StaticFiles
from bandstand.web.transport import TransportMiddleware


async def _open_relay() -> None:
    # Its connection also hears of budgets that are used up, which matters before anybody watches a session.
    relay.get_hub()


async def _close_subscriptions() -> None:
    relay.close_subscriptions()


async def _close_relay() -> None:
    relay.close_hub()


# Started first, so that it ends last.
background_work = BackgroundWorkPart(lifecycle, relay.hub_figures)
lifecycle.register("background work", start=background_work.start, stop=background_work.stop)
# Ends after all answers have: one that drains is no reason to be killed.
liveness = LoopLiveness(settings.BANDSTAND.liveness_file)
lifecycle.register("liveness", start=liveness.start, stop=liveness.stop)
lifecycle.register("relay", start=_open_relay, drain=_close_subscriptions, stop=_close_relay)
_http = StaticFiles(django, folder=settings.BANDSTAND.data_dir / STATIC_FOLDER, prefix=settings.STATIC_URL)
lifecycle.register("static files", start=_http.load)

_routes: "Application" = TransportMiddleware(
    ProtocolTypeRouter(
        {
            "http": BodyLimitMiddleware(_http, settings.BANDSTAND.completion_bytes),
            "websocket": URLRouter(websocket_urlpatterns),
        }
    ),
    https=settings.SECURE_SSL_REDIRECT,
)
application: "Application" = Lifespan(
    ProxyHeadersMiddleware(
        FairRequestsMiddleware(RequestIdMiddleware(CookieFilterMiddleware(_routes))), settings.BANDSTAND.trusted_proxies
    )
)
