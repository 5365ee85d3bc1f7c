"""The calls of a turn that wait for a person: what is asked about them, and what has become of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agents.domain.approvals import ApprovalState
from agents.domain.steps import StepRecord
from agents.domain.tool_rights import refusal_text
from agents.engine.call_rights import CallRights
from agents.engine.context import TurnContext
from agents.engine.shielded import run_shielded
from agents.journal.approval_writes import NewApproval, read_approvals, use_approvals

_CHANGED = "This call was not run: what is stored of it is not what was approved."


@dataclass
class Decided:
    """The calls that wait no longer, with what is to run for each, and the others with the first end of their time.
    `unused` are the numbers of those that have certainly not run before."""

    calls: list[StepRecord] = field(default_factory=list)
    unused: set[int] = field(default_factory=set)
    pending: list[StepRecord] = field(default_factory=list)
    until: datetime | None = None


class CallApprovals:
    """The approvals of the calls of one claim of a turn. They cost nothing where no call asks."""

    def __init__(self, context: TurnContext, rights: CallRights) -> None:
        self._claim = context.claim
        self._rights = rights
        self._approved: set[int] = set()
        self._refusals: dict[int, str] = {}

    def refusal(self, step: StepRecord) -> str | None:
        """What the model reads in place of a result of a call that asks and that nobody is known to have approved."""
        if step.number in self._approved:
            return None
        return self._refusals.get(step.number) or refusal_text(step.right or {})

    def requests(self, steps: Sequence[StepRecord]) -> list[NewApproval]:
        """What is to be stored of those of these calls that ask."""
        return [self._request(step) for step in steps if step.needs_approval]

    def _request(self, step: StepRecord) -> NewApproval:
        rule = self._rights.rule_of(step.name)
        assert rule is not None  # only a rule asks
        return NewApproval(
            step=step.number,
            call_id=step.call_id,
            tool=step.name,
            arguments=step.request,
            reasons=[reason["text"] for reason in (step.right or {}).get("reasons", ())],
            decider=rule.decided_by,
            hours=rule.approval_hours,
        )

    async def sort(self, calls: Sequence[StepRecord]) -> Decided:
        """What has become of open calls that ask. Those that may run now are marked as used, once, before this
        returns; no statement runs where nothing asks. Raises `LostTurn` and database errors."""
        decided = Decided()
        if not calls:
            return decided
        stored = await run_shielded(read_approvals, self._claim, [call.number for call in calls])
        approved = [step for step, one in stored.items() if one.state is ApprovalState.APPROVED and not one.is_used]
        used = await run_shielded(use_approvals, self._claim, approved) if approved else set()
        decided.unused = used
        for call in calls:
            one = stored.get(call.number)
            if one is not None and one.state is ApprovalState.PENDING:
                decided.pending.append(call)
                decided.until = min(filter(None, (decided.until, one.expires_at)))
                continue
            if one is not None and one.state is ApprovalState.APPROVED and (one.is_used or call.number in used):
                self._approved.add(call.number)
                # Exactly what was stored, whatever the step says.
                decided.calls.append(replace(call, name=one.tool, request=one.arguments))
            else:
                self._refusals[call.number] = (one.refusal if one is not None else None) or _CHANGED
                decided.calls.append(call)
        return decided
