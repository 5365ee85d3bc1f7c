"""The shapes of `agents.domain.serialization` in SQL, for statements that write an event together with its row.

Each function takes SQL expressions for its values and returns SQL; a test compares the results with those of Python.
"""

from __future__ import annotations

# Equal to `serialization.moment`.
MOMENT = """to_char({} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def message_json(
    *,
    id: str,
    ordinal: str,
    author: str,
    parts: str,
    turn: str,
    parent: str,
    partial: str,
    created_at: str,
) -> str:
    """SQL for `serialization.message_shape` of a message without feedback."""
    return f"""jsonb_build_object('id', {id}, 'ordinal', {ordinal}, 'author', {author}, 'parts', {parts},
        'turn', {turn}, 'parent', {parent}, 'partial', {partial}, 'feedback', NULL,
        'created_at', {MOMENT.format(created_at)})"""


def session_json(row: str, *, agent: str, release: str, title: str, head: str) -> str:
    """SQL for `serialization.session_shape` of the session in `row`; `agent` is the agent's slug, `release` the
    release's number."""
    return f"""jsonb_build_object('id', {row}.id, 'agent', {agent}, 'release', {release}, 'title', {title},
        'metadata', {row}.metadata, 'controller', {row}.controller, 'version', {row}.version, 'head', {head},
        'created_at', {MOMENT.format(f"{row}.created_at")})"""


def approval_json(row: str) -> str:
    """SQL for `serialization.approval_shape` of the approval in `row`."""
    return f"""jsonb_build_object('approval', {row}.id, 'step', {row}.step, 'call_id', {row}.call_id,
        'tool', {row}.tool, 'arguments', {row}.arguments, 'reasons', {row}.reasons, 'who', {row}.decider,
        'until', {MOMENT.format(f"{row}.expires_at")})"""
