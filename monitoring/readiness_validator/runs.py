"""Runs as rows: asked for by a person or a command, carried out by whoever asked, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import Conflict
from monitoring.models import ReadinessRun
from monitoring.models.readiness_runs import INTERRUPTED_AFTER
from monitoring.readiness_validator.candidates import ReleaseCandidate, read_draft, read_live_releases
from monitoring.readiness_validator.check_lines import Area, CheckLine, has_failed
from monitoring.role_permissions import RUN_READINESS

log = structlog.get_logger(__name__)

KEEP_RUNS: Final = timedelta(days=90)
INSTALLATION: Final = "the installation"


def run_now(actor: Actor, *, agent_slug: str | None = None, areas: Sequence[Area] = tuple(Area)) -> ReadinessRun:
    """Check the draft of the agent, or all live releases, in `areas`, and return the result once it is there.

    Raises `Forbidden`, `NotFound`, and `Conflict` while another run is under way.
    """
    run, candidates = _begin(actor, agent_slug)
    _carry_out(run.pk, candidates, areas)
    run.refresh_from_db()
    return run


def start_run(actor: Actor, *, agent_slug: str | None = None, areas: Sequence[Area] = tuple(Area)) -> ReadinessRun:
    """Like `run_now`, in a thread of this process; returns the run as it begins. The result is in its row later."""
    run, candidates = _begin(actor, agent_slug)
    # A process that ends takes the thread with it: the run is interrupted, which the next one notes.
    arguments = (run.pk, candidates, areas)
    threading.Thread(target=_carry_out_in_thread, args=arguments, name="readiness", daemon=True).start()
    return run


def newest_run(agent_id: UUID | None) -> ReadinessRun | None:
    """The newest run about the agent, or about the installation."""
    return ReadinessRun.objects.filter(agent_id=agent_id).first()


def read_lines(run: ReadinessRun) -> list[CheckLine]:
    """The lines of its result."""
    return [CheckLine.parse(line) for line in run.lines]


def purge_runs() -> int:
    """Delete the runs of long ago; return how many."""
    return ReadinessRun.objects.filter(started_at__lt=Now() - KEEP_RUNS).delete()[0]


def _begin(actor: Actor, agent_slug: str | None) -> tuple[ReadinessRun, Sequence[ReleaseCandidate]]:
    require_permission(actor, RUN_READINESS)
    candidates = read_live_releases() if agent_slug is None else [read_draft(agent_slug)]
    about = None if agent_slug is None else candidates[0]
    silent = ReadinessRun.objects.filter(status=ReadinessRun.Status.RUNNING, started_at__lt=Now() - INTERRUPTED_AFTER)
    silent.update(status=ReadinessRun.Status.INTERRUPTED, finished_at=Now())
    try:
        with transaction.atomic():
            run = ReadinessRun.objects.create(
                agent_id=about.agent_id if about else None,
                subject=about.name if about else INSTALLATION,
                fingerprint=about.fingerprint if about else "",
                requested_by_id=actor.user_id,
                requested_as=actor.name,
            )
            record_audit(actor, "readiness.checked", target=run)
    except IntegrityError:
        raise Conflict("The checks are under way already; their result is there in a minute.") from None
    return run, candidates


def _carry_out(run_id: UUID, candidates: Sequence[ReleaseCandidate], areas: Sequence[Area]) -> None:
    # Imported late: the checks load the models' adapters, which most processes never need.
    from monitoring.readiness_validator.area_checks import make_scope, validate

    try:
        lines = validate(make_scope(candidates), areas)
    except BaseException:
        _finish(run_id, ReadinessRun.Status.INTERRUPTED, [])
        raise
    _finish(run_id, ReadinessRun.Status.FAILED if has_failed(lines) else ReadinessRun.Status.PASSED, lines)


def _finish(run_id: UUID, status: ReadinessRun.Status, lines: Sequence[CheckLine]) -> None:
    running = ReadinessRun.objects.filter(pk=run_id, status=ReadinessRun.Status.RUNNING)
    running.update(status=status, finished_at=Now(), lines=[line.dump() for line in lines])


def _carry_out_in_thread(run_id: UUID, candidates: Sequence[ReleaseCandidate], areas: Sequence[Area]) -> None:
    try:
        _carry_out(run_id, candidates, areas)
    except DATABASE_FAULTS as error:
        log.warning("readiness_run.not_stored", reason=str(error))
    except Exception:
        log.exception("readiness_run.failed")
    finally:
        connection.close()
