"""Idempotency-Key for POSTs other than turns: the first response is stored and replayed.

The record and the work commit together, so a process that dies leaves neither. A repeat during the first request waits
for its commit, on the unique index, up to the lock timeout.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse
from psycopg import errors

from accounts.actor import Actor, Scope
from foundation import strict_json
from foundation.errors import BandstandError, Conflict, IdempotencyMismatch
from foundation.problems import MEDIA_TYPE
from rest.errors import IdempotencyInProgress, invalid_parameter
from rest.models import IdempotencyRecord
from rest.problem_responses import http_status, problem_response
from rest.responses import text_response

WAIT_SECONDS = 2
REPLAYED = {"Idempotent-Replayed": "true"}

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_NOT_STORED = frozenset({401, 403, 429})
_STORED_HEADERS = ("Location", "ETag")
# Of a response: where it names what it is about.
_SUBJECT_FIELDS = ("id", "session")

_INSERT = """
INSERT INTO rest_idempotencyrecord (principal, verb, target, key, fingerprint, headers, subjects, created_at)
VALUES (%s, %s, %s, %s, %s, '{}', '{}', now()) ON CONFLICT DO NOTHING RETURNING id
"""


@dataclass(frozen=True, slots=True)
class IdempotentOperation:
    """What a key identifies: the actor, the verb, its target and the body. `scope` is required for it."""

    actor: Actor
    verb: str
    target: str
    body: Any
    scope: Scope = Scope.CHAT

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(strict_json.canonical(self.body)).digest()


def read_key(request: HttpRequest) -> str | None:
    """The Idempotency-Key, or None. Raises `InvalidFields` unless it is 1 to 255 visible ASCII characters."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise invalid_parameter("Idempotency-Key", "1 to 255 visible ASCII characters are expected.")
    return key


def run_once(request: HttpRequest, operation: IdempotentOperation, run: Callable[[], HttpResponse]) -> HttpResponse:
    """Return `run()`, or its stored response to an earlier request with this key and body.

    Raises `Forbidden`, `Conflict` if what it created was deleted, `IdempotencyMismatch` for another body,
    `IdempotencyInProgress` if the first request takes longer than `WAIT_SECONDS`, and what `run` raises. Client errors
    are stored as well, except 401, 403 and 429.
    """
    key = read_key(request)
    if key is None:
        return run()
    # `run` checks it, too, but not for a replay, and another key of the same user may have fewer scopes.
    operation.actor.require_scope(operation.scope)
    with transaction.atomic():
        record_id = _claim(operation, key)
        if record_id is None:
            return _replayed(operation, key)
        try:
            with transaction.atomic():
                response = run()
        except BandstandError as error:
            if http_status(error) in _NOT_STORED or http_status(error) >= 500:
                raise
            response = problem_response(
                error, actor=operation.actor.name, method=str(request.method), path=request.path
            )
        _store(record_id, response)
        return response


def _claim(operation: IdempotentOperation, key: str) -> int | None:
    """Insert a record and return its id, or None if there is one already."""
    params: list[Any] = [operation.actor.principal, operation.verb, operation.target, key, operation.fingerprint]
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{WAIT_SECONDS}s"])
        try:
            cursor.execute(_INSERT, params)
        except OperationalError as error:
            if isinstance(error.__cause__, errors.LockNotAvailable):
                raise IdempotencyInProgress(retry_after_seconds=WAIT_SECONDS) from None
            raise
        row = cursor.fetchone()
    return row[0] if row else None


def _replayed(operation: IdempotentOperation, key: str) -> HttpResponse:
    record = IdempotencyRecord.objects.get(
        principal=operation.actor.principal, verb=operation.verb, target=operation.target, key=key
    )
    if record.status is not None and record.body is None:
        raise Conflict("What this request has created is deleted.")
    if bytes(record.fingerprint) != operation.fingerprint:
        raise IdempotencyMismatch
    if record.status is None:
        raise IdempotencyInProgress(retry_after_seconds=WAIT_SECONDS)
    response = text_response(orjson.dumps(record.body), status=record.status, headers={**record.headers, **REPLAYED})
    if record.status >= 400:
        response["Content-Type"] = MEDIA_TYPE
    return response


def _store(record_id: int, response: HttpResponse) -> None:
    headers = {name: response[name] for name in _STORED_HEADERS if name in response}
    body = orjson.loads(response.content)
    IdempotencyRecord.objects.filter(pk=record_id).update(
        status=response.status_code, body=body, headers=headers, subjects=_read_subjects(body)
    )


def _read_subjects(body: Any) -> list[UUID]:
    # Ours have the ids of UUIDs or null; those of a stored refusal have none.
    return [UUID(body[name]) for name in _SUBJECT_FIELDS if body.get(name)]


def erase_responses(subjects: Collection[UUID]) -> int:
    """Erase what requests and responses about these subjects have said, in the transaction that deletes them; return
    how many. A repeat of such a request is refused."""
    records = IdempotencyRecord.objects.filter(subjects__overlap=list(subjects))
    return records.update(body=None, headers={}, fingerprint=b"", subjects=[])
