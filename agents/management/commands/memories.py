"""`manage.py memories`: searches what is remembered of a user, and makes the vectors that are missing."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from agents.models import Agent
from foundation.errors import BandstandError
from memory.lifecycle.embed_pending import embed_pending
from memory.reading import owner_keys_of_user
from memory.recall import RecalledMemory, RecallRequest, recall
from memory.recall.memory_search import DEFAULT_K


class Command(BaseCommand):
    help = (
        "`search USER QUESTION` finds what is remembered of a user, with the share of each signal; `reembed` makes the "
        "vectors that are missing or of another model."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="{search,reembed}", required=True)
        search = actions.add_parser("search", help="what a question finds")
        search.add_argument("user", help="the name of a user")
        search.add_argument("question")
        search.add_argument("--agent", help="only what this agent recalls, by its slug")
        search.add_argument("--k", type=int, default=DEFAULT_K, help="how many at most")
        search.add_argument("--json", action="store_true", help="print JSON")
        reembed = actions.add_parser("reembed", help="make vectors until none is missing, or the time is up")
        reembed.add_argument("--seconds", type=float, default=3_600.0)
        reembed.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            if options["action"] == "search":
                self._search(options)
            else:
                count = embed_pending(seconds=options["seconds"])
                self.stdout.write(json.dumps({"embedded": count}) if options["json"] else f"{count:,} vectors made.")
        except BandstandError as error:
            raise CommandError(error.detail) from None

    def _search(self, options: dict[str, Any]) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}.")
        agent = None
        if options["agent"] is not None:
            agent = Agent.objects.filter(slug=options["agent"]).values_list("pk", flat=True).first()
            if agent is None:
                raise CommandError(f"There is no agent {options['agent']!r}.")
        request = RecallRequest(query=options["question"], k=options["k"], explain=True)
        recalled = recall(owner_keys_of_user(user.pk, agent), request)
        if options["json"]:
            results = [_record(memory) for memory in recalled.memories]
            self.stdout.write(json.dumps({"results": results, "low_confidence": recalled.low_confidence}))
            return
        for memory in recalled.memories:
            shares = ", ".join(f"{name} {share:.2f}" for name, share in memory.signals.items() if share)
            self.stdout.write(f"{memory.score:.2f}  {memory.id}  {memory.text}\n      {shares}")
        if recalled.low_confidence:
            self.stdout.write(
                "Nothing is near the question." if not recalled.memories else "None is near the question."
            )


def _record(memory: RecalledMemory) -> dict[str, Any]:
    return {
        "id": str(memory.id),
        "text": memory.text,
        "score": round(memory.score, 4),
        "tier": memory.tier.value,
        "scope": memory.scope.value,
        "signals": {name: round(share, 4) for name, share in memory.signals.items()},
    }
