"""Error responses in place of the application, in the format of the interface that was called."""

from dataclasses import dataclass
from html import escape
from uuid import UUID

import orjson
import structlog

from foundation.ids import new_id
from foundation.problems import MEDIA_TYPE, problem, retry_after_header, status_phrase

log = structlog.get_logger("bandstand.web")

# Below these no person looks at a page.
PROGRAMS = ("/api/", "/chat/", "/ws/", "/v1/")
_PROBLEMS = ("/api/", "/chat/", "/ws/", "/metrics")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
<p>{detail}</p>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error response. `code` is for programs, `detail` is for people."""

    status: int
    code: str
    detail: str
    retry_after_seconds: float | None = None

    def prepare(self, path: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """The body and the headers of a response that no application gave, to a request for `path`, with an id that is
        logged."""
        request_id = new_id()
        content = self.content(path, request_id)
        log.warning("web.refused", status=self.status, rule=self.code, path=path, request_id=str(request_id))
        return content, [*self.headers(path, content), (b"x-request-id", str(request_id).encode())]

    def headers(self, path: str, content: bytes) -> list[tuple[bytes, bytes]]:
        """The ASGI headers of a response with this `content` to a request for `path`."""
        headers = [
            (b"content-type", _media_type(path).encode()),
            (b"content-length", str(len(content)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if self.retry_after_seconds is not None:
            headers.append((b"retry-after", retry_after_header(self.retry_after_seconds).encode()))
        return headers

    def content(self, path: str, request_id: UUID) -> bytes:
        """The body: OpenAI's error format below `/v1/`, a problem (RFC 9457) for the APIs, else an HTML page."""
        if path.startswith("/v1/"):
            kind = "invalid_request_error" if self.status < 500 else "server_error"
            kind = "rate_limit_error" if self.status == 429 else kind
            error = {"message": self.detail, "type": kind, "code": self.code, "param": None}
            return orjson.dumps({"error": error})
        if path.startswith(_PROBLEMS):
            return orjson.dumps(
                problem(
                    self.status,
                    code=self.code,
                    detail=self.detail,
                    request_id=request_id,
                    retry_after_seconds=self.retry_after_seconds,
                )
            )
        return _PAGE.format(title=status_phrase(self.status), detail=escape(self.detail)).encode()


def _media_type(path: str) -> str:
    if path.startswith("/v1/"):
        return "application/json"
    return MEDIA_TYPE if path.startswith(_PROBLEMS) else "text/html; charset=utf-8"
