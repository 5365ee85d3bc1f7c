"""Thumbs up and down."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from agents.api.answers import answer_json, answer_nothing
from agents.api.bodies import read_body
from agents.api.fields import Choice, Input, Text, read_input
from agents.api.parameters import read_id, read_query
from agents.api.views import ApiView
from agents.rules.wire import feedback_shape
from agents.sessions import give_feedback, withdraw_feedback

VALUES = {"up": 1, "down": -1}


class NewFeedback(Input):
    value = Choice(choices=list(VALUES))
    comment = Text(required=False)


class FeedbackView(ApiView):
    def put(self, _request: Request, message_id: str) -> HttpResponse:
        read_query(self.http)
        wanted, given = read_id("message_id", message_id), read_input(NewFeedback, read_body(self.http))
        found = give_feedback(
            self.who(), message_id=wanted, value=VALUES[given["value"]], comment=given.get("comment", "")
        )
        return answer_json(feedback_shape(found.value, found.comment))

    def delete(self, _request: Request, message_id: str) -> HttpResponse:
        read_query(self.http)
        withdraw_feedback(self.who(), message_id=read_id("message_id", message_id))
        return answer_nothing()
