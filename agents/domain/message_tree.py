"""The tree that a session's messages form: the way to its head, and the branches beside that way.

A question and its answer stand for one place in the conversation. The next question may name either as its parent: the
answer, or, when it was asked before the answer was there, the question. Both follow the same place, so branches are
counted by places.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Node:
    """A message without its words. `answers` says that it is an agent's answer to the message of its turn."""

    id: UUID
    ordinal: int
    turn: UUID | None
    parent: UUID | None
    answers: bool


class Tree:
    """All messages of one session."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = {node.id: node for node in sorted(nodes, key=lambda node: node.ordinal)}
        self._asked = {node.turn: node for node in self._nodes.values() if node.turn and not node.answers}
        self._answer = {node.turn: node for node in self._nodes.values() if node.turn and node.answers}
        self._following: dict[UUID | None, list[Node]] = defaultdict(list)
        for node in self._nodes.values():
            if self._place(node) is node:
                self._following[self._before(node)].append(node)

    def line(self, head: UUID | None) -> list[Node]:
        """What people read, oldest first: the places on the way to `head`, each by its first message."""
        found: list[Node] = []
        place = self._place(self._nodes[head]) if head in self._nodes else None
        while place is not None:
            found.append(place)
            before = self._before(place)
            place = self._nodes[before] if before is not None else None
        found.reverse()
        return found

    def asked_for(self, turn: UUID) -> Node | None:
        """The message that a turn answers."""
        return self._asked.get(turn)

    def answer_to(self, node: Node) -> Node | None:
        return self._answer.get(node.turn) if node.turn and not node.answers else None

    def branches(self, node: Node) -> list[Node]:
        """The places that follow the same place, `node` among them, oldest first."""
        return self._following[self._before(node)]

    def newest_below(self, node: Node) -> UUID:
        """The head that shows `node` and the newest of what follows it."""
        while self._following.get(node.id):
            node = self._following[node.id][-1]
        answer = self.answer_to(node)
        return answer.id if answer else node.id

    def _place(self, node: Node) -> Node:
        return self._asked.get(node.turn, node) if node.turn and node.answers else node

    def _before(self, node: Node) -> UUID | None:
        parent = self._nodes.get(node.parent) if node.parent else None
        return self._place(parent).id if parent else None
