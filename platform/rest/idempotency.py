"""Idempotency-Key on POSTs that are no turns: the first outcome is kept, and a repeat gets it again.

The record and the work commit together: a process that dies leaves neither, and a repeat that comes while the first is
running waits for its commit, on the unique index, as long as the lock timeout lets it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse
from psycopg import errors

from accounts.actor import Actor, Scope
from foundation import strict_json
from foundation.errors import BandstandError, IdempotencyMismatch
from foundation.problems import MEDIA_TYPE
from rest.errors import IdempotencyInProgress, invalid_parameter
from rest.models import IdempotencyRecord
from rest.problems import http_status, problem_response
from rest.responses import text_response

WAIT_SECONDS = 2
REPLAYED = {"Idempotent-Replayed": "true"}

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_NOT_KEPT = frozenset({401, 403, 429})
_KEPT_HEADERS = ("Location", "ETag")

_INSERT = """
INSERT INTO rest_idempotencyrecord (principal, verb, target, key, fingerprint, headers, created_at)
VALUES (%s, %s, %s, %s, %s, '{}', now()) ON CONFLICT DO NOTHING RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Operation:
    """What a key stands for: who does what to what, with which body. `scope` is what it takes to do it."""

    actor: Actor
    verb: str
    target: str
    body: Any
    scope: Scope = Scope.CHAT

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(strict_json.canonical(self.body)).digest()


def read_key(request: HttpRequest) -> str | None:
    """The Idempotency-Key, if one was given. Raises `InvalidFields` unless it is 1 to 255 visible ASCII characters."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise invalid_parameter("Idempotency-Key", "1 to 255 visible ASCII characters are expected.")
    return key


def run_once(request: HttpRequest, operation: Operation, run: Callable[[], HttpResponse]) -> HttpResponse:
    """`run()`, or what it answered the first time that this key came with this body.

    Raises `Forbidden`, `IdempotencyMismatch` for another body, `IdempotencyInProgress` when the first takes longer than
    two seconds, and whatever `run` raises. Refusals for the caller's own fault are kept like answers; 401, 403, 429 and
    5xx are not.
    """
    key = read_key(request)
    if key is None:
        return run()
    # The verb asks, too, but a repeat does not come to it: another key of the same user may do less.
    operation.actor.require_scope(operation.scope)
    with transaction.atomic():
        record_id = _claim(operation, key)
        if record_id is None:
            return _replayed(operation, key)
        try:
            with transaction.atomic():
                response = run()
        except BandstandError as error:
            if http_status(error) in _NOT_KEPT or http_status(error) >= 500:
                raise
            response = problem_response(
                error, actor=operation.actor.name, method=str(request.method), path=request.path
            )
        _keep(record_id, response)
        return response


def _claim(operation: Operation, key: str) -> int | None:
    """The id of a new record; None when there is one already."""
    who: list[Any] = [operation.actor.principal, operation.verb, operation.target, key, operation.fingerprint]
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{WAIT_SECONDS}s"])
        try:
            cursor.execute(_INSERT, who)
        except OperationalError as error:
            if isinstance(error.__cause__, errors.LockNotAvailable):
                raise IdempotencyInProgress(retry_after_seconds=WAIT_SECONDS) from None
            raise
        row = cursor.fetchone()
    return row[0] if row else None


def _replayed(operation: Operation, key: str) -> HttpResponse:
    record = IdempotencyRecord.objects.get(
        principal=operation.actor.principal, verb=operation.verb, target=operation.target, key=key
    )
    if bytes(record.fingerprint) != operation.fingerprint:
        raise IdempotencyMismatch
    if record.status is None:
        raise IdempotencyInProgress(retry_after_seconds=WAIT_SECONDS)
    response = text_response(orjson.dumps(record.body), status=record.status, headers={**record.headers, **REPLAYED})
    if record.status >= 400:
        response["Content-Type"] = MEDIA_TYPE
    return response


def _keep(record_id: int, response: HttpResponse) -> None:
    headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    IdempotencyRecord.objects.filter(pk=record_id).update(
        status=response.status_code, body=orjson.loads(response.content), headers=headers
    )
