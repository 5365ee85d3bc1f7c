"""The tree that a session's messages form: the path to its head, and the branches off that path.

A question and its answer are one exchange. The next question may have either as its parent: the answer, or, when it was
asked before there was an answer, the question. Both follow the same exchange, so branches are counted by exchanges. An
exchange is represented by its first message.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Node:
    """A message without its content. `answers`: it is an agent's answer to the question of its turn. `size` is that of
    its content in bytes."""

    id: UUID
    ordinal: int
    turn: UUID | None
    parent: UUID | None
    answers: bool
    size: int = 0


class Tree:
    """All messages of one session."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = {node.id: node for node in sorted(nodes, key=lambda node: node.ordinal)}
        self._questions = {node.turn: node for node in self._nodes.values() if node.turn and not node.answers}
        self._answers = {node.turn: node for node in self._nodes.values() if node.turn and node.answers}
        self._children: dict[UUID | None, list[Node]] = defaultdict(list)
        for node in self._nodes.values():
            if self._exchange(node) is node:
                self._children[self._previous_exchange(node)].append(node)

    def path_to(self, head: UUID | None) -> list[Node]:
        """The exchanges on the path from the root to `head`, oldest first; none when `head` is not in the tree."""
        path: list[Node] = []
        node = self._exchange(self._nodes[head]) if head in self._nodes else None
        while node is not None:
            path.append(node)
            previous_id = self._previous_exchange(node)
            node = self._nodes[previous_id] if previous_id is not None else None
        path.reverse()
        return path

    def find_question(self, turn: UUID) -> Node | None:
        """The question that a turn answers; None when there is no such turn."""
        return self._questions.get(turn)

    def find_answer(self, node: Node) -> Node | None:
        """The agent's answer to a question; None while there is none."""
        return self._answers.get(node.turn) if node.turn and not node.answers else None

    def branches(self, node: Node) -> list[Node]:
        """The exchanges that follow the same exchange as `node`, `node` included, oldest first."""
        return self._children[self._previous_exchange(node)]

    def newest_descendant(self, node: Node) -> UUID:
        """The head to choose for the branch of `node`: the newest message of its newest descendants."""
        while self._children.get(node.id):
            node = self._children[node.id][-1]
        answer = self.find_answer(node)
        return answer.id if answer else node.id

    def _exchange(self, node: Node) -> Node:
        return self._questions.get(node.turn, node) if node.turn and node.answers else node

    def _previous_exchange(self, node: Node) -> UUID | None:
        parent = self._nodes.get(node.parent) if node.parent else None
        return self._exchange(parent).id if parent else None
