"""Turns whose calls of a model reserve money, wait for it and settle, without a runner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from agents.budgets.reservations import BudgetRequest, MustWait, PassResult, Reply, settle_and_reserve
from agents.domain.states import StepStatus, WaitReason
from agents.domain.usage import BilledUsage
from agents.journal import fenced_writes
from agents.journal.claims import Claim
from agents.models import BudgetReservation, Turn
from agents.runner.budget_waker import wake_for_budget
from tests.support.budgets import budget_request
from tests.support.conversations import Conversation, claimed, conversation, done, ending, park


@dataclass
class Caller:
    """A running turn of `name` whose first call of a model is open."""

    name: str
    conversation: Conversation
    claim: Claim

    @classmethod
    def begin(cls, name: str) -> Caller:
        """A new turn in a new session, claimed."""
        ada = conversation(name)
        ada.ask()
        return cls(name, ada, claimed())

    def request(self, **changes: Any) -> BudgetRequest:
        """100 bytes of input and 100 tokens of output, a cent each, no less; it may wait."""
        claim = self.claim
        changes = {"least_output_tokens": 100, "may_wait": True, "purpose": "step"} | changes
        return budget_request(
            claim.user_id, session_id=claim.session_id, turn_id=claim.turn_id, step=1, epoch=claim.epoch, **changes
        )

    def ask(self, **changes: Any) -> Reply:
        """What becomes of its request."""
        [reply] = settle_and_reserve([self.request(**changes)]).replies
        return reply

    def ask_and_park(self, **changes: Any) -> None:
        """It must wait, and its turn does."""
        assert isinstance(self.ask(**changes), MustWait)
        assert park(self.claim, WaitReason.BUDGET)

    def settle(self, cost: Decimal | str | None = "1", *, tokens: int | None = 100, names: bool = True) -> PassResult:
        """The turn ends with an answer of that cost, and anybody settles."""
        reservation = self.reservations().get(status="reserved")
        usage = BilledUsage(tokens, 0 if tokens is not None else None, None if cost is None else Decimal(cost))
        outcome = replace(
            done(1), usage=usage, details={"reservation": reservation.pk} if names else {}, status=StepStatus.DONE
        )
        fenced_writes.finish(self.claim, ending(self.claim), outcomes=[outcome])
        return settle_and_reserve()

    def resume(self, result: PassResult) -> bool:
        """Whether `result` wakes it; then it is claimed anew."""
        if (self.claim.session_id, self.claim.turn_id) not in result.wake:
            return False
        assert wake_for_budget([(self.claim.session_id, self.claim.turn_id)]) == 1
        self.claim = claimed()
        return True

    def reservations(self) -> Any:
        return BudgetReservation.objects.filter(turn_id=self.claim.turn_id)

    def turn(self) -> Turn:
        return Turn.objects.get(pk=self.claim.turn_id)

    def status(self) -> str | None:
        """That of its last reservation; None where it has none."""
        row = self.reservations().order_by("pk").last()
        return row.status if row is not None else None
