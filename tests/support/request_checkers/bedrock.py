"""Amazon Bedrock's Converse, by the service model that its library validates with, and its error messages."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

from tests.support.request_checkers.rules import Refused, refuse_blank, refuse_repeated, refuse_unless


@cache
def _shape() -> Shape:
    service = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
    return service.operation_model("ConverseStream").input_shape


def check(body: dict[str, Any]) -> None:
    report = ParamValidator().validate({"modelId": "any", **body}, _shape())
    if report.has_errors():
        raise Refused(report.generate_report())
    messages = body["messages"]
    refuse_unless(
        messages and messages[0]["role"] == "user", "A conversation must start with a user message. Try again."
    )
    refuse_unless(messages[-1]["role"] == "user", "A conversation must end with a user message.")
    for block in body.get("system", ()):
        refuse_blank(block["text"], "system: The text field in the ContentBlock object")
    waiting: list[str] = []
    ids: list[str] = []
    previous = "assistant"
    for message in messages:
        refuse_unless(
            message["role"] != previous, "A conversation must alternate between user and assistant roles. Try again."
        )
        previous = message["role"]
        blocks = message["content"]
        refuse_unless(blocks, "The content field in the Message object is empty.")
        for block in blocks:
            if "text" in block:
                refuse_blank(block["text"], "The text field in the ContentBlock object")
            for one in block.get("toolResult", {}).get("content", ()):
                if "text" in one:
                    refuse_blank(one["text"], "The text field in the ToolResultContentBlock object")
        results = [block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block]
        refuse_unless(
            sorted(results) == sorted(waiting), "The number of toolResult blocks exceeds that of toolUse blocks"
        )
        refuse_unless(not results or len(results) == len(blocks), "toolResult blocks beside others: not every model")
        waiting = [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
        refuse_unless(all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in waiting), "toolUse.toolUseId")
        ids += waiting
    refuse_unless(not waiting, "a call without its result")
    refuse_repeated(ids)
    refuse_unless(not ids or body.get("toolConfig"), "The toolConfig field must be defined when using toolUse")
