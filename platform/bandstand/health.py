"""Probes (`/health`, `/ready`, `/ready/self`, `/info`, `/metrics`), before all other middleware: they come without
public host name and TLS.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from bandstand import VERSION, metrics_endpoint
from bandstand.web.lifecycle import lifecycle
from foundation.db_threads import start_in_probe_thread
from monitoring import readiness
from monitoring.readiness import FailingPart, Readiness

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]
READY_SECONDS = 4.0  # probes time out later, and would then consider the process dead


class ProbeMiddleware:
    """Responds to probes; passes every other request on.

    `/health`, `/livez`: this process is alive; touches nothing. `/ready`, `/readyz`: 200 if the installation works, or
    503 with what fails. `/ready/self`: the same for this process alone, whatever runs beside it.
    `/info`: version of the code and of its schema. `/metrics`: figures for Prometheus, see
    `bandstand.metrics_endpoint`.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)
        self.probes: dict[str, Callable[[HttpRequest], Awaitable[HttpResponse]]] = {
            "/health": health,
            "/livez": health,
            "/ready": ready,
            "/readyz": ready,
            "/ready/self": ready_self,
            "/info": info,
            metrics_endpoint.PATH: metrics_endpoint.metrics,
        }

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        probe = self.probes.get(request.path_info)
        if probe is None:
            return await self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
        response = await probe(request)
        response["Cache-Control"] = "no-store"
        # Or Django would log every 503 as an error, once per probe.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response


async def health(_request: HttpRequest) -> HttpResponse:
    """200: the process is alive."""
    return JsonResponse({"status": "ok"})


async def ready(_request: HttpRequest) -> HttpResponse:
    """200 if all parts of the installation work, else 503 with the failing ones. Degraded ones are named, and do not
    count."""
    return await _respond(readiness.read_readiness)


async def ready_self(_request: HttpRequest) -> HttpResponse:
    """200 if this process can answer, else 503 with its failing parts: database, migrations, draining. A runner or a
    scheduler that is away takes no web process out of service."""
    return await _respond(readiness.read_process_readiness)


async def _respond(read: Callable[[], Readiness]) -> HttpResponse:
    degraded: list[FailingPart] = []
    try:
        parts_now = await asyncio.wait_for(_read_once(read), READY_SECONDS)
        failing, degraded = parts_now.failing, parts_now.degraded
    except TimeoutError:
        failing = [FailingPart("database", f"no answer within {READY_SECONDS:.0f} s")]
    if lifecycle.draining:
        failing = [FailingPart("draining", "this process is about to end"), *failing]
    parts = {part.part: part.detail for part in failing}
    body: dict[str, Any] = {"status": "failing" if parts else "ready", "failing": parts}
    if degraded:
        body["degraded"] = {part.part: part.detail for part in degraded}
    return JsonResponse(body, status=503 if parts else 200)


_checking: dict[Callable[[], Readiness], Future[Readiness]] = {}


async def _read_once(read: Callable[[], Readiness]) -> Readiness:
    """The readiness, read in a thread of its own: it answers while everybody else's are busy. Who asks meanwhile gets
    the same answer, so that a flood of probes is one check after the other."""
    future = _checking.get(read)
    if future is None or future.done():
        future = _checking[read] = start_in_probe_thread(read)
    return await asyncio.shield(asyncio.wrap_future(future))


async def info(_request: HttpRequest) -> HttpResponse:
    """The version of the code and the newest migration of each app."""
    return JsonResponse({"name": "bandstand", "version": VERSION, "schema": readiness.schema()})
