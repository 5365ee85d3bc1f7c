"""The schema, and a page to read and try it. Both are public, as the code is, and say nothing of the installation."""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import get_conditional_response, patch_response_headers
from rest_framework.request import Request

from rest.query_params import read_query
from rest.views import ApiView

# As narrow as Swagger UI allows: it draws its icons from data addresses.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
CACHE_SECONDS = 60


class PublicView(ApiView):
    """A view for everybody."""

    def admit(self, request: HttpRequest) -> None:
        """Nobody needs to say who they are."""


class SchemaView(PublicView):
    def get(self, _request: Request) -> HttpResponseBase:
        # Not before somebody asks: a process that serves none need not have the libraries in memory.
        from rest.schema.generator import document

        read_query(self.http)
        content = document()
        response = HttpResponse(content, content_type="application/json")
        response["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        patch_response_headers(response, CACHE_SECONDS)
        return get_conditional_response(self.http, response["ETag"], response=response) or response


class DocsView(PublicView):
    media_types = ("text/html",)

    def get(self, _request: Request) -> HttpResponse:
        read_query(self.http)
        response = render(self.http, "pages/api_docs.html", {"csrf_cookie": settings.CSRF_COOKIE_NAME})
        response["Content-Security-Policy"] = _POLICY
        return response
