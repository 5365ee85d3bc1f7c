"""A look at the heartbeats of all runners every 10 seconds: those whose beat is too old have failed a health check."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.db import connection

from agents.models.runners import heartbeat_timeout
from foundation.advisory_locks import AdvisoryLock, try_advisory_lock

LOOK_SECONDS: Final = 10.0
# Processes do not look at the same moment: the one that looked last should be the next one, too.
DUE_SECONDS: Final = LOOK_SECONDS - 1
# A runner that was silent for longer is not expected back.
GONE: Final = timedelta(minutes=15)

# A runner that has ended says so. One that vanished has failed, unless another one that has begun since on its host has
# taken its place; each new one takes one place. The row without a runner says that somebody looked.
_LOOK: Final = """
WITH silent AS (
    SELECT host, pid, heartbeat_at, row_number() OVER (PARTITION BY host ORDER BY heartbeat_at) AS number
    FROM agents_runner
    WHERE status <> 'stopped' AND heartbeat_at < statement_timestamp() - %(timeout)s
      AND heartbeat_at > statement_timestamp() - %(gone)s
), failed AS (
    SELECT DISTINCT host || ':' || pid AS name FROM silent
    WHERE number > (SELECT count(*) FROM agents_runner other
                    WHERE other.host = silent.host AND other.started_at > silent.heartbeat_at
                      AND other.heartbeat_at >= statement_timestamp() - %(timeout)s)
)
INSERT INTO monitoring_gaugesample (metric, labels, at, value)
SELECT 'runner_failed_checks', look.labels, statement_timestamp(), look.value
FROM (SELECT '{}'::jsonb AS labels, 0 AS value
      UNION ALL SELECT jsonb_build_object('runner', name), 1 FROM failed) look
WHERE NOT EXISTS (
    SELECT FROM monitoring_gaugesample WHERE metric = 'runner_failed_checks'
       AND at > statement_timestamp() - make_interval(secs => %(due)s) AND at <= statement_timestamp())
"""


def look_at_runners() -> None:
    """Write which runners fail now, if nobody has looked in the last seconds."""
    params: dict[str, Any] = {"timeout": heartbeat_timeout(), "gone": GONE, "due": DUE_SECONDS}
    with try_advisory_lock(AdvisoryLock.LOOK_AT_RUNNERS) as is_mine:
        if is_mine:
            with connection.cursor() as cursor:
                cursor.execute(_LOOK, params)
