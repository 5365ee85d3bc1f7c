"""Feedback on answers."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from agents.domain.serialization import feedback_shape
from agents.sessions import give_feedback, withdraw_feedback
from rest.query_params import read_id, read_query
from rest.request_body import read_body
from rest.responses import json_response, no_content
from rest.serializers import ChoiceField, Input, TextField, read_input
from rest.views import ApiView

VALUES = {"up": 1, "down": -1}


class NewFeedback(Input):
    """The body of a rating."""

    value = ChoiceField(choices=list(VALUES))
    comment = TextField(required=False)


class FeedbackView(ApiView):
    """`/api/v1/messages/{id}/feedback`: give and withdraw."""

    def put(self, _request: Request, message_id: str) -> HttpResponse:
        read_query(self.http)
        message_uuid, data = read_id("message_id", message_id), read_input(NewFeedback, read_body(self.http))
        feedback = give_feedback(
            self.who(), message_id=message_uuid, value=VALUES[data["value"]], comment=data.get("comment", "")
        )
        return json_response(feedback_shape(feedback.value, feedback.comment))

    def delete(self, _request: Request, message_id: str) -> HttpResponse:
        read_query(self.http)
        withdraw_feedback(self.who(), message_id=read_id("message_id", message_id))
        return no_content()
