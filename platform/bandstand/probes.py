"""`/health` and its relatives, answered before any other middleware: a probe brings no public host name and no TLS."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase, JsonResponse

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ProbeMiddleware:
    """Answers probes; passes everything else on."""

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info in {"/health", "/livez"}:
            return JsonResponse({"status": "ok"})
        return await self.get_response(request)
