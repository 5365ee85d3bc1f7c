"""Events as JSON text, built without parsing the payload."""

from __future__ import annotations

from agents.journal.log import LoggedEvent


def event_json(event: LoggedEvent) -> str:
    """The frame of an event, JSON text: `{"type":"event","seq":…,"turn":…,"event":…,"data":…,"at":…}`.

    A compacted row adds `replaces_from`, the first seq that it covers. Nothing here needs escaping: `data` is JSON as
    PostgreSQL wrote it, and the other values are event types, ids and times.
    """
    turn = f'"{event.turn}"' if event.turn else "null"
    replaces_field = f',"replaces_from":{event.replaces_from}' if event.replaces_from is not None else ""
    return (
        f'{{"type":"event","seq":{event.seq},"turn":{turn},"event":"{event.type}","data":{event.data},'
        f'"at":"{event.at}"{replaces_field}}}'
    )
