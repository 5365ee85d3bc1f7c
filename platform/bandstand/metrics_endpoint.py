"""`/metrics`: who may read it, and its answer."""

from __future__ import annotations

import hmac
import ipaddress
import re
from functools import partial
from typing import Any, Final

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.key_headers import read_api_key
from bandstand import VERSION
from bandstand.config import is_loopback
from bandstand.web.error_responses import ErrorResponse
from foundation.db_threads import start_in_own_thread
from foundation.ids import new_id
from foundation.request_ids import current_request_id
from monitoring.prometheus.exposition import choose_format, render
from monitoring.prometheus.scrapes import ScrapeCache, read_figures, unread_figures

log = structlog.get_logger("bandstand.web")

PATH: Final = "/metrics"
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::[0-9]+)?")
_WHAT_IT_NEEDS: Final = "This address needs the token of BANDSTAND_METRICS_TOKEN, as Authorization: Bearer."
_WHO_MAY: Final = (
    "Without BANDSTAND_METRICS_TOKEN this address answers programs on its own machine only, and not through a proxy."
)


def make_cache() -> ScrapeCache:
    """Reads in a thread and with a connection that are no other's: also while all are busy."""
    return ScrapeCache(partial(read_figures, VERSION), partial(start_in_own_thread, "metrics"))


_cache = make_cache()


async def metrics(request: HttpRequest) -> HttpResponse:
    """The figures in the format that the scraper asks for, or 401. A database that does not answer is a figure."""
    rule = broken_rule(request)
    if rule is not None:
        return _refuse(rule)
    text_format = choose_format(request.headers.get("Accept", ""))
    try:
        content = await _cache.text(text_format)
    except TimeoutError:
        log.warning("scrape.failed", reason="no answer in time")
        content = render(unread_figures(VERSION), text_format)
    return HttpResponse(content, content_type=text_format.value, headers={"Vary": "Accept"})


def broken_rule(request: HttpRequest) -> str | None:
    """Why the request may not read the metrics, as a word for the log; None if it may.

    With a token everybody needs it. Without one a program on this machine may: the connection is from a loopback
    address to a loopback name, so that no page in a browser gets here by a name of its own, and no header says that a
    proxy passes on what others ask.
    """
    token = settings.BANDSTAND.metrics_token
    if token is not None:
        return _broken_token_rule(request, token.get_secret_value())
    scope: dict[str, Any] = getattr(request, "scope", {})
    client = scope.get("client")
    if scope.get("forwarded", True) or client is None or "Via" in request.headers:
        return "forwarded"
    if not _is_local(str(client[0])):
        return "not_local"
    host = _HOST.fullmatch(request.headers.get("Host", ""))
    return None if host is not None and is_loopback(host[1]) else "foreign_host"


def _broken_token_rule(request: HttpRequest, token: str) -> str | None:
    sent = read_api_key(request.headers.get("Authorization"), None)
    if sent is None:
        return "no_credentials"
    # As bytes: text with other than ASCII letters cannot be compared so.
    return None if hmac.compare_digest(sent.encode("utf-8", "replace"), token.encode()) else "bad_token"


def _is_local(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def _refuse(rule: str) -> HttpResponse:
    log.warning("request.refused", rule=rule, status=401, actor=None, path=PATH)
    has_token = settings.BANDSTAND.metrics_token is not None
    refusal = ErrorResponse(401, "unauthenticated", _WHAT_IT_NEEDS if has_token else _WHO_MAY)
    content = refusal.content(PATH, current_request_id() or new_id())
    headers = {name.decode(): value.decode() for name, value in refusal.headers(PATH, content)}
    headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
    return HttpResponse(content, status=401, headers=headers)
