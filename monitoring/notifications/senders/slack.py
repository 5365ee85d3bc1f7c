"""Slack's incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks

The text with one coloured attachment is what compatible receivers (Mattermost, Rocket.Chat, Discord) read as well; they
do not know Slack's blocks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from foundation.graphemes import cut_text
from monitoring.notifications.message import NotificationMessage, Recipient
from monitoring.notifications.notification_content import ContentState, NotificationContent
from monitoring.notifications.notification_text import MAX_LISTED, details, headline, links, subject
from monitoring.notifications.senders.http_request import HttpRequest

# Slack cuts longer texts into several messages.
MAX_TEXT: Final = 3_000
_COLOURS: Final = {"critical": "#c62828", "warning": "#b26a00", "info": "#1565c0"}
_RESOLVED: Final = "#2e7d32"


def make_request(recipient: Recipient, messages: Sequence[NotificationMessage]) -> HttpRequest:
    """The request for all of `messages`. The secret is the whole address."""
    return HttpRequest(recipient.secret, json.dumps(make_payload(messages)).encode())


def make_payload(messages: Sequence[NotificationMessage]) -> dict[str, Any]:
    """The JSON of one message; of several it names each in a line."""
    if len(messages) == 1:
        content = messages[0].content
        text = "\n".join([*map(escape, details(content)), " · ".join(_links(content))]).strip()
        colour = _colour(content)
    else:
        lines = [_line(message) for message in messages[:MAX_LISTED]]
        if len(messages) > MAX_LISTED:
            lines.append(f"and {len(messages) - MAX_LISTED} more")
        text = "\n".join(lines)
        colour = _colour(max(messages, key=lambda message: message.content.state is ContentState.FIRING).content)
    title = cut_text(escape(subject(messages)), MAX_TEXT, mark="…")
    return {
        "text": title,
        "attachments": [{"color": colour, "fallback": title, "text": cut_text(text, MAX_TEXT, mark="…")}],
    }


def escape(text: str) -> str:
    """`text` without a meaning in Slack's markup: no mention of everybody, no link of somebody's choice."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(message: NotificationMessage) -> str:
    text = escape(headline(message))
    return f"<{escape(message.content.url)}|{text}>" if message.content.url else text


def _links(content: NotificationContent) -> list[str]:
    return [f"<{escape(address)}|{text}>" for text, address in links(content)]


def _colour(content: NotificationContent) -> str:
    if content.state is ContentState.RESOLVED:
        return _RESOLVED
    return _COLOURS.get(content.severity, _COLOURS["warning"])
