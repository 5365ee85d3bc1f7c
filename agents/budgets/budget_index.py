"""Which calls draw on a budget, as one process knows it: a call that draws on none costs no statement."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg
import structlog

from agents.budgets.reservations import BUDGETS_CHANNEL, EXHAUSTED_PAYLOAD, WAITING_PAYLOAD
from foundation.pg_listener import Wake

log = structlog.get_logger(__name__)

# How often memberships of groups that have a budget are read again; budgets themselves are heard of by NOTIFY.
_READ_AGAIN_POLLS = 5
# In case that a notification was lost.
_READ_ALL_POLLS = 30

_READ = """
SELECT b.subject,
       CASE b.subject WHEN 'key' THEN (SELECT k.user_id FROM accounts_apikey k WHERE k.id = b.api_key_id)
                      ELSE b.user_id END,
       b.agent_id,
       CASE WHEN b.subject = 'group'
            THEN ARRAY(SELECT m.user_id FROM accounts_user_groups m WHERE m.group_id = b.group_id) END
FROM agents_budget b
"""


@dataclass(frozen=True, slots=True)
class _Subjects:
    has_any: bool = False
    has_everybody: bool = False
    has_groups: bool = False
    users: frozenset[int] = frozenset()
    agents: frozenset[UUID] = frozenset()


class BudgetIndex:
    """Whose calls draw on a budget. Whoever owns the listening connection calls `hear` after each of its wake-ups, from
    its thread; a change is known within a second."""

    channel = BUDGETS_CHANNEL

    def __init__(self) -> None:
        self._subjects = _Subjects()
        self._connection: psycopg.Connection | None = None
        self._polls = 0
        # Whether turns wait for money, as far as this process knows.
        self.has_waiting = False

    def applies(self, *, user_id: int, agent_id: UUID | None) -> bool:
        """Whether a call for this user by this agent may draw on a budget: for a budget of a key all calls of its owner
        may."""
        subjects = self._subjects
        return subjects.has_any and (subjects.has_everybody or user_id in subjects.users or agent_id in subjects.agents)

    @property
    def is_empty(self) -> bool:
        """Whether there is no budget at all."""
        return not self._subjects.has_any

    def hear(self, connection: psycopg.Connection, wake: Wake) -> None:
        """Read the budgets again if they may have changed."""
        payloads = [payload for channel, payload in wake.payloads if channel == BUDGETS_CHANNEL]
        if WAITING_PAYLOAD in payloads:
            self.has_waiting = True
        self._polls += wake.polled
        period = _READ_AGAIN_POLLS if self._subjects.has_groups else _READ_ALL_POLLS
        is_due = wake.polled and self._polls % period == 0
        changed = any(payload not in (WAITING_PAYLOAD, EXHAUSTED_PAYLOAD) for payload in payloads)
        if connection is not self._connection or is_due or changed:
            self.load(connection)
            self._connection = connection

    def load(self, connection: psycopg.Connection) -> None:
        """Read the budgets."""
        try:
            rows = connection.execute(_READ.encode()).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.Error:
            # Turns are run all the same; what was known stays.
            log.exception("budgets.not_loaded")
            return
        users = {user for _, user, _, _ in rows if user is not None}
        users.update(member for *_, members in rows for member in members or ())
        self._subjects = _Subjects(
            has_any=bool(rows),
            has_everybody=any(subject in ("everybody", "each_user") for subject, *_ in rows),
            has_groups=any(subject == "group" for subject, *_ in rows),
            users=frozenset(users),
            agents=frozenset(agent for _, _, agent, _ in rows if agent is not None),
        )
