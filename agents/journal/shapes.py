"""The shapes of `agents.domain.serialization` in SQL, for statements that write an event together with its row.

Each takes the SQL of its values; a test holds what they build against what Python builds from the same rows.
"""

from __future__ import annotations

# Equal to `wire.moment`.
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
    """Equal to `wire.message_shape` of a message that nobody has rated."""
    return f"""jsonb_build_object('id', {id}, 'ordinal', {ordinal}, 'author', {author}, 'parts', {parts},
        'turn', {turn}, 'parent', {parent}, 'partial', {partial}, 'feedback', NULL,
        'created_at', {MOMENT.format(created_at)})"""


def session_json(row: str, *, agent: str, release: str, title: str, head: str) -> str:
    """Equal to `wire.session_shape` of the session in `row`, whose agent's slug and release's number are given."""
    return f"""jsonb_build_object('id', {row}.id, 'agent', {agent}, 'release', {release}, 'title', {title},
        'metadata', {row}.metadata, 'controller', {row}.controller, 'version', {row}.version, 'head', {head},
        'created_at', {MOMENT.format(f"{row}.created_at")})"""
