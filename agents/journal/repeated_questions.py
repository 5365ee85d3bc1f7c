"""Which answered question a turn asks again: in the same words, or as another branch at the same place.

Told when a turn's words are stored, some time after its end, so that nobody compares the turns of a month. For turns
whose words are not stored yet it is read when somebody looks.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

# After the end of the earlier turn.
REPEATED_WITHIN: Final = timedelta(minutes=10)
# The same words are looked for among so many ordinals before: two or more for each turn.
MAX_ORDINALS_BACK: Final = 200

# The ids of the turns that turn `t` asks again. Of several with the same words, or at the same place, the last one
# before it: each of the others was asked again by the one after it. An earlier turn that has not ended counts, too.
REPEATED_TURNS: Final = f"""
SELECT earlier.id
FROM (
    (SELECT e.id FROM agents_turn e
     WHERE t.fingerprint <> '' AND e.agent_session_id = t.agent_session_id AND e.fingerprint = t.fingerprint
       AND e.ordinal < t.ordinal AND e.ordinal >= t.ordinal - {MAX_ORDINALS_BACK}
     ORDER BY e.ordinal DESC LIMIT 1)
    UNION
    SELECT sibling.turn_id
    FROM agents_message question CROSS JOIN LATERAL (
        (SELECT m.turn_id, m.ordinal FROM agents_message m
         WHERE m.parent_id = question.parent_id AND m.author = 'user' AND m.turn_id IS NOT NULL
           AND m.ordinal < question.ordinal
         ORDER BY m.ordinal DESC LIMIT 1)
        UNION ALL
        (SELECT m.turn_id, m.ordinal FROM agents_message m
         WHERE question.parent_id IS NULL AND m.agent_session_id = question.agent_session_id AND m.parent_id IS NULL
           AND m.author = 'user' AND m.turn_id IS NOT NULL AND m.ordinal < question.ordinal
         ORDER BY m.ordinal DESC LIMIT 1)
    ) sibling
    WHERE question.turn_id = t.id AND question.author = 'user'
) candidate JOIN agents_turn earlier ON earlier.id = candidate.id
WHERE earlier.id <> t.id AND (earlier.finished_at IS NULL
      OR t.queued_at <= earlier.finished_at + interval '{REPEATED_WITHIN.total_seconds():.0f} seconds')
"""  # noqa: S608 - put together from constants
