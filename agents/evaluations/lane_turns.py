"""The turns of an evaluation: each entry in each lane is a real turn, in a session of its own that nobody is shown."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final

from django.db import transaction

from agents.domain.evaluations import Lane, ResultStatus
from agents.domain.recordings import Recording
from agents.domain.session_purposes import SessionPurpose
from agents.domain.states import TURN_DEADLINE, Priority
from agents.journal.admission import NewTurn, admit
from agents.journal.recorded_history import write_history
from agents.models import AgentSession, EvaluationResult, EvaluationRun
from foundation.clock import now
from foundation.ids import new_id

# A conversation is copied into each lane; answers and checks are in the results, and nothing else is read of it later.
_LIFE: Final = timedelta(days=7)


@transaction.atomic
def begin_lane(run: EvaluationRun, result: EvaluationResult) -> bool:
    """Ask an entry's question again in the lane of `result`, which is pending: its session, its history and its turn
    are written with the result that names them, or nothing is. Returns False when somebody else did, or the turn cannot
    be accepted, which the result then says."""
    case = result.case
    turn_id, session_id = new_id(), new_id()
    pending = EvaluationResult.objects.filter(pk=result.pk, status=ResultStatus.PENDING)
    if not pending.update(status=ResultStatus.RUNNING, turn_id=turn_id, session_id=session_id):
        return False
    session = AgentSession.objects.create(
        id=session_id,
        user_id=run.paid_by_id,
        agent_id=run.agent_id,
        release_id=run.candidate_id if result.lane == Lane.CANDIDATE else run.baseline_id,
        purpose=SessionPurpose.EVALUATION,
        listed=False,
        expires_at=now() + _LIFE,
    )
    recording = Recording.parse(case.recording)
    # A summary is sent only where something precedes the history.
    write_history(session, case.history, first_ordinal=2 if recording.summary else 1)
    admitted = admit(
        NewTurn(
            session_id=session_id,
            user_id=run.paid_by_id,
            turn_id=turn_id,
            message_id=new_id(),
            parts=case.question,
            fingerprint=hashlib.sha256(turn_id.bytes).digest(),
            key=None,
            branch=False,
            parent=None,
            when_busy=None,
            priority=Priority.BACKGROUND,
            client_options=dict(recording.client_options) if recording.client_options else None,
        ),
        depth=1,
        deadline_seconds=int(TURN_DEADLINE.total_seconds()),
    )
    if admitted is None:
        session.delete()
        EvaluationResult.objects.filter(pk=result.pk).update(
            status=ResultStatus.FAILED,
            turn_id=None,
            session_id=None,
            detail="Who pays for the run may not use this agent.",
        )
        return False
    return True
