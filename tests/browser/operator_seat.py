"""`python -m tests.browser.operator_seat NAME`: an operator, without a browser. Each line of the input is the JSON
`{"verb": …, "session": …, …}`; a line of JSON says when it is done. One process for all, since its start takes longest.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any
from uuid import UUID

import django


def main(name: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    os.environ["BANDSTAND_ROLE"] = "command"
    django.setup()
    from accounts.models import User
    from accounts.permissions import user_actor

    actor = user_actor(User.objects.get(username=name))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        _carry_out(actor, **order)
        print(json.dumps({"done": order["verb"]}), flush=True)


def _carry_out(actor: Any, *, verb: str, session: str, **options: Any) -> None:
    from agents.domain.approvals import Decision
    from agents.models import AgentSession
    from agents.sessions import handoff_control, operator_duty
    from agents.sessions.approvals import decide_approval, pending_approvals_for

    match verb:
        case "on_duty":
            operator_duty.go_on_duty(actor)
        case "off_duty":
            operator_duty.go_off_duty(actor)
        case "decide":
            [approval] = pending_approvals_for(AgentSession.objects.get(pk=session))
            decision = Decision(options.pop("decision"))
            decide_approval(actor, approval_id=approval.pk, decision=decision, as_operator=True, **options)
        case _:
            getattr(handoff_control, verb)(actor, session_id=UUID(session), **options)


if __name__ == "__main__":
    main(sys.argv[1])
