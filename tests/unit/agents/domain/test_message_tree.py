"""The tree of a session's messages: what people read of it, and what lies beside that."""

from uuid import UUID

import pytest

from agents.domain.message_tree import Node, Tree


def number(n: int) -> UUID:
    return UUID(int=n)


def asked(n: int, parent: int | None) -> Node:
    return Node(number(n), n, number(1000 + n), number(parent) if parent else None, answers=False)


def answered(n: int, question: int) -> Node:
    return Node(number(n), n, number(1000 + question), number(question), answers=True)


def aside(n: int, parent: int | None) -> Node:
    """A message without a turn, of a human or to one."""
    return Node(number(n), n, None, number(parent) if parent else None, answers=False)


def line(tree: Tree, head: int | None) -> list[int]:
    return [node.id.int for node in tree.path_to(number(head) if head else None)]


def beside(tree: Tree, n: int, nodes: list[Node]) -> list[int]:
    return [other.id.int for other in tree.branches(next(node for node in nodes if node.id.int == n))]


PLAIN = [asked(1, None), answered(2, 1), asked(3, 2), answered(4, 3)]


def test_questions_stand_in_a_line_and_their_answers_hang_on_them() -> None:
    tree = Tree(PLAIN)
    assert line(tree, 4) == line(tree, 3) == [1, 3]
    assert tree.find_answer(PLAIN[2]) == PLAIN[3]
    assert tree.find_answer(PLAIN[3]) is None


def test_nothing_leads_to_no_head_or_to_one_that_is_gone() -> None:
    assert line(Tree(PLAIN), None) == line(Tree(PLAIN), 99) == line(Tree([]), 1) == []


def test_a_message_whose_parent_is_gone_begins_the_line() -> None:
    assert line(Tree([asked(3, 2), answered(4, 3)]), 4) == [3]


def test_a_question_asked_before_the_last_answer_follows_it_all_the_same() -> None:
    nodes = [asked(1, None), asked(2, 1), answered(3, 1), answered(4, 2)]
    assert line(Tree(nodes), 4) == [1, 2]


def test_branches_follow_the_same_place_whichever_of_its_messages_they_name() -> None:
    nodes = [asked(1, None), asked(2, 1), answered(3, 1), asked(4, 3)]
    assert beside(Tree(nodes), 2, nodes) == beside(Tree(nodes), 4, nodes) == [2, 4]
    assert beside(Tree(nodes), 1, nodes) == [1]


def test_the_first_question_has_branches_too() -> None:
    nodes = [*PLAIN, asked(5, None), answered(6, 5)]
    assert beside(Tree(nodes), 5, nodes) == [1, 5]
    assert line(Tree(nodes), 6) == [5]


@pytest.mark.parametrize(("n", "head"), [(1, 9), (3, 4), (7, 9), (8, 9)])
def test_a_branch_is_shown_at_its_newest_end(n: int, head: int) -> None:
    nodes = [*PLAIN, asked(7, 2), asked(8, 7), answered(9, 8)]
    node = next(node for node in nodes if node.id.int == n)
    assert Tree(nodes).newest_descendant(node) == number(head)


def test_messages_without_a_turn_are_places_of_their_own() -> None:
    nodes = [*PLAIN, aside(5, 4), aside(6, 5), asked(7, 6)]
    assert line(Tree(nodes), 7) == [1, 3, 5, 6, 7]


def test_an_answer_without_its_question_stands_alone() -> None:
    nodes = [answered(2, 1), asked(3, 2)]
    assert line(Tree(nodes), 3) == [2, 3]
