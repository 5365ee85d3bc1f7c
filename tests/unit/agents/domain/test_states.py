"""The table of a turn's moves, against the design's own words."""

from agents.domain.events import TERMINAL_EVENTS
from agents.domain.states import OWNED, PARKED, TERMINAL, TURN_MOVES, Priority, StepStatus, TurnStatus

DESIGN = """
queued     → running cancelled expired failed
running    → waiting retry_wait cancelling completed failed expired queued
waiting    → queued cancelled expired failed
retry_wait → queued cancelled expired failed
cancelling → cancelled completed expired
completed  →
failed     →
cancelled  →
expired    →
"""


def test_the_legal_moves_are_those_of_the_design() -> None:
    rows = [line.partition("→") for line in DESIGN.strip().splitlines()]
    assert {TurnStatus(source.strip()): set(targets.split()) for source, _, targets in rows} == TURN_MOVES


def test_every_state_can_end_and_no_state_moves_to_itself() -> None:
    for status, moves in TURN_MOVES.items():
        reached = {status}
        while not reached & TERMINAL:
            reached |= {target for one in reached for target in TURN_MOVES[one]}
        assert status not in moves


def test_owned_states_are_entered_by_a_claim_or_a_stop_only() -> None:
    into = {(source, target) for source, moves in TURN_MOVES.items() for target in moves if target in OWNED}
    assert into == {(TurnStatus.QUEUED, TurnStatus.RUNNING), (TurnStatus.RUNNING, TurnStatus.CANCELLING)}
    assert not OWNED & TERMINAL


def test_a_parked_turn_is_nobodys_and_has_not_ended() -> None:
    assert {TurnStatus.WAITING, TurnStatus.RETRY_WAIT} == PARKED
    assert {status for status, moves in TURN_MOVES.items() if moves & PARKED} == {TurnStatus.RUNNING}


def test_each_end_has_an_event_of_its_name() -> None:
    assert {"turn.completed", "turn.failed", "turn.cancelled", "turn.expired"} == TERMINAL_EVENTS


def test_states_fit_their_columns() -> None:
    assert max(map(len, TurnStatus)) <= 10
    assert max(map(len, StepStatus)) <= 7


def test_interactive_is_served_before_background() -> None:
    assert Priority.INTERACTIVE < Priority.BACKGROUND
