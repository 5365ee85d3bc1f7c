"""People with API keys: run by `manage.py shell`."""

from __future__ import annotations

import json

from accounts.actor import Actor, Scope
from accounts.api_keys import create_api_key
from accounts.roles import Role
from tests.support.people import person


def main(people: int) -> None:
    """Print the API keys of so many new people, as JSON."""
    keys = []
    for number in range(people):
        user = person(f"person-{number}", Role.USER)
        _, key = create_api_key(Actor.system("chaos"), user=user, name="chaos", scopes=set(Scope), expires_at=None)
        keys.append(key)
    print(json.dumps(keys))
