"""What the inbox says of handoffs and approvals in words."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from agents.domain.approvals import ApprovalState
from agents.domain.handoffs import HandoffOutcome, HandoffPriority, HandoffSource, HandoffState
from agents.models import AgentSession, Approval, Handoff
from console.formatting import NOTHING, badge, format_second, time_elapsed, time_until
from foundation.clock import now

# Characters that scripts join their letters with are not among them.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
_RULES: Final = {
    "failed_turns": "Several answers in a row have failed",
    "refused_call": "A call of a tool was refused",
    "thumb_down": "The user did not like an answer",
}
_OUTCOMES: Final = {
    HandoffOutcome.RETURNED: "returned to the agent",
    HandoffOutcome.RESOLVED: "resolved",
    HandoffOutcome.TIMED_OUT: "nobody came in time",
    HandoffOutcome.WITHDRAWN: "the user went on with the agent",
}
_PRIORITY_LEVELS: Final = {HandoffPriority.URGENT: "bad", HandoffPriority.HIGH: "warn"}
_APPROVAL_LABELS: Final = {
    ApprovalState.PENDING: "waits",
    ApprovalState.DENIED: "refused",
    ApprovalState.EXPIRED: "not decided in time",
}
_APPROVAL_LEVELS: Final = {
    ApprovalState.PENDING: "warn",
    ApprovalState.APPROVED: "good",
    ApprovalState.DENIED: "bad",
}


def operator_name(user: User | None) -> str:
    """How operators read each other's name; "" for nobody."""
    return "" if user is None else (user.get_full_name() or user.get_username())


def describe_reason(source: str, reason: str) -> str:
    """Who wants a person, and why, in words."""
    match source:
        case HandoffSource.USER:
            return f"The user asks: “{reason}”" if reason else "The user asks for a person"
        case HandoffSource.TOOL:
            return f"The agent asks: “{reason}”" if reason else "The agent asks for a person"
        case HandoffSource.RULE:
            return _RULES.get(reason, f"A rule of the agent: {reason.replace('_', ' ')}")
        case HandoffSource.FALLBACK:
            return "No model answered"
        case HandoffSource.OPERATOR:
            return "An operator took over"
    return reason.replace("_", " ") or NOTHING


def describe_outcome(outcome: str) -> str:
    """How a handoff ended, in words."""
    return _OUTCOMES.get(HandoffOutcome(outcome), outcome) if outcome else NOTHING


def priority_badge(priority: int) -> SafeString:
    """The priority as a coloured badge."""
    value = HandoffPriority(priority)
    return badge(value.name.lower(), _PRIORITY_LEVELS.get(value, ""))


def waiting_since(handoff: Handoff) -> Any:
    """Since when the user waits for a person's words; None if nobody waits."""
    if handoff.state == HandoffState.PENDING:
        return handoff.requested_at
    return handoff.last_user_message_at if handoff.state != HandoffState.RESOLVED else None


def waiting_time(handoff: Handoff) -> SafeString | str:
    """How long the user waits, as HTML; a dash if they do not."""
    return time_elapsed(waiting_since(handoff))


def first_reply(handoff: Handoff) -> SafeString | str:
    """The target of the first reply, or when it came, as HTML: "due in 4 min", "3 min late", "after 2 min"."""
    if handoff.first_reply_at is not None:
        if handoff.reply_due_at is not None and handoff.first_reply_at > handoff.reply_due_at:
            return badge("sent, late")
        return badge("sent", "good")
    if handoff.reply_due_at is None or handoff.state == HandoffState.RESOLVED:
        return NOTHING
    return format_html("{}{}", "" if is_late(handoff) else "due ", time_until(handoff.reply_due_at))


def is_late(handoff: Handoff) -> bool:
    """Whether the first reply should have been there."""
    if handoff.state == HandoffState.RESOLVED or handoff.reply_due_at is None:
        return False
    return handoff.first_reply_at is None and handoff.reply_due_at < now()


def handoff_badge(handoff: Handoff, session: AgentSession) -> SafeString:
    """Who answers now, as a badge: "waits", "Ana answers", "snoozed until …", "resolved"."""
    if handoff.state == HandoffState.RESOLVED:
        return badge(describe_outcome(handoff.outcome))
    if handoff.state == HandoffState.SNOOZED and handoff.snoozed_until is not None:
        return badge(f"snoozed until {format_second(handoff.snoozed_until)[:16]}")
    if session.controller == AgentSession.Controller.HUMAN:
        return badge(f"{operator_name(handoff.assignee) or 'a person'} answers", "good")
    return badge("waits", "warn")


def approval_badge(approval: Approval) -> SafeString:
    """The state of an approval as a badge. One whose end has passed is said to be over before somebody writes so."""
    state = ApprovalState(approval.state)
    if state is ApprovalState.PENDING and approval.expires_at <= now():
        return badge("time is over", "bad")
    return badge(_APPROVAL_LABELS.get(state, state.value), _APPROVAL_LEVELS.get(state, ""))


def argument_rows(arguments: str) -> list[tuple[str, str]]:
    """The whole arguments of a stored call as (name, value), with nothing that the eye misses; values other than texts
    as JSON, and one nameless row for what is no object."""
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        return [("", reveal(arguments))]
    return [
        (reveal(name), reveal(value if isinstance(value, str) else _indented(value))) for name, value in parsed.items()
    ]


def call_reasons(approval: Approval) -> list[str]:
    """Why a person is asked about the call, with nothing that the eye misses."""
    return [reveal(str(reason)) for reason in approval.reasons]


def reveal(text: str) -> str:
    """`text` with each character that shows nothing, or turns round what follows, as its number: `⟨U+202E⟩`. As
    `reveal` of the chat's `stored-call.js` has it."""
    return _UNSEEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def _indented(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONEncodeError:
        return str(value)
