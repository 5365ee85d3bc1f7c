"""Operators on duty: who is there to take over sessions now."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.db import connection

from accounts.permissions import held_permissions_sql
from accounts.role_permissions import ENTER_CONSOLE
from agents.permissions.role_permissions import ANSWER_HANDOFF, VIEW_TRANSCRIPT

# What a person on duty may do, else they are not there for anybody.
DUTY_PERMISSIONS: Final = (ENTER_CONSOLE, ANSWER_HANDOFF, VIEW_TRANSCRIPT)


def on_duty_sql(agent: str) -> str:
    """An SQL expression: whether a person is on duty now who may answer handoffs and read the transcripts of the agent
    whose id is the expression `agent`."""
    # A reader of transcripts is in one of the agent's groups, if it has any: also a superuser, as
    # `agents.permissions.transcripts` has it.
    return f"""EXISTS (
    SELECT FROM agents_operatorduty d JOIN accounts_user u ON u.id = d.user_id
    WHERE d.until > now() AND u.is_active
      AND cardinality({held_permissions_sql(DUTY_PERMISSIONS)}) = {len(DUTY_PERMISSIONS)}
      AND (NOT EXISTS (SELECT FROM agents_agent_groups g WHERE g.agent_id = {agent})
           OR EXISTS (SELECT FROM agents_agent_groups g JOIN accounts_user_groups m ON m.group_id = g.group_id
                      WHERE g.agent_id = {agent} AND m.user_id = u.id)))
"""  # noqa: S608 - put together from constants


_ON_DUTY: Final = f"SELECT {on_duty_sql('%(agent)s')}"


def is_somebody_on_duty(agent_id: UUID) -> bool:
    """Whether a person is on duty now who may answer handoffs and read the transcripts of the agent."""
    with connection.cursor() as cursor:
        cursor.execute(_ON_DUTY, {"agent": agent_id})
        row: tuple[Any, ...] = cursor.fetchone()
    return bool(row[0])
