"""Approvals: the user decides about a call that waits."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from agents.domain.approvals import Decision
from agents.domain.serialization import decided_approval_shape
from agents.sessions.approvals import decide_approval
from rest.idempotency import IdempotentOperation, run_once
from rest.query_params import read_id, read_query
from rest.request_body import read_body
from rest.responses import json_response
from rest.serializers import ChoiceField, Input, TextField, read_input
from rest.views import ApiView


class DecisionInput(Input):
    """The body of a decision."""

    decision = ChoiceField(choices=[decision.value for decision in Decision])
    note = TextField(required=False)


class ApprovalView(ApiView):
    """`/api/v1/turns/{id}/approvals/{approval_id}`: approve or refuse the call."""

    def post(self, _request: Request, turn_id: str, approval_id: str) -> HttpResponse:
        read_query(self.http)
        actor = self.who()
        turn_uuid, approval_uuid = read_id("turn_id", turn_id), read_id("approval_id", approval_id)
        body = read_body(self.http)
        data = read_input(DecisionInput, body)

        def run() -> HttpResponse:
            approval = decide_approval(
                actor,
                approval_id=approval_uuid,
                turn_id=turn_uuid,
                decision=Decision(data["decision"]),
                note=data.get("note", ""),
            )
            return json_response(decided_approval_shape(approval))

        return run_once(self.http, IdempotentOperation(actor, "decide_approval", str(approval_uuid), body), run)
