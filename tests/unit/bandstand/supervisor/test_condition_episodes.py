"""When a condition begins and ends, as looks see it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from bandstand.supervisor.condition_episodes import Change, Episodes, Observation, Subject, Transition
from bandstand.supervisor.conditions import TERMS, Condition

START = datetime(2026, 11, 30, 12, tzinfo=UTC)
DATABASE = Subject(Condition.DATABASE_DOWN)
RUNNER = Subject(Condition.PROCESS_KEEPS_ENDING, "runner-1")
BAD, GOOD, UNKNOWN = Observation(True, "refused"), Observation(False), Observation(None)


def play(episodes: Episodes, looks: str, *, begin: float = 0.0, subject: Subject = DATABASE) -> list[tuple[float, str]]:
    """Looks each five seconds: x is bad, . good, ? unknown; what changes, with its second."""
    kinds = {"x": BAD, ".": GOOD, "?": UNKNOWN}
    changes: list[tuple[float, str]] = []
    for number, letter in enumerate(looks):
        seconds = begin + 5 * number
        at = START + timedelta(seconds=seconds)
        changes += [
            (seconds, str(change.transition))
            for change in episodes.update({subject: kinds[letter]}, seconds=seconds, at=at)
        ]
    return changes


@pytest.mark.parametrize(
    ("looks", "changes"),
    [
        ("......", []),
        ("xxx.xxx.", []),  # restarted in time
        ("xxxxxxx", [(15, "firing")]),
        ("xxxx.x..xx", [(15, "firing")]),  # it has not been away for long enough
        ("xxxx...", [(15, "firing"), (30, "resolved")]),
        ("xx?xxxx", [(30, "firing")]),  # what was not seen does not count
        ("xxxx?.?..?...", [(15, "firing"), (60, "resolved")]),
    ],
)
def test_a_condition_must_last_and_so_must_its_end(looks: str, changes: list[tuple[float, str]]) -> None:
    assert play(Episodes(), looks) == changes


def test_a_change_says_since_when_and_what_was_seen() -> None:
    episodes = Episodes()
    subject = {DATABASE: BAD}
    at = [START + timedelta(seconds=5 * number) for number in range(8)]
    begin = [change for n in range(4) for change in episodes.update(subject, seconds=5.0 * n, at=at[n])]
    assert begin == [Change(DATABASE, Transition.FIRING, at[0], at[3], "refused")]
    end = [change for n in range(4, 8) for change in episodes.update({DATABASE: GOOD}, seconds=5.0 * n, at=at[n])]
    assert end == [Change(DATABASE, Transition.RESOLVED, at[0], at[4], "refused")]


def test_what_somebody_else_has_found_waits_for_no_further_look() -> None:
    frozen = Subject(Condition.SCHEDULER_FROZEN)
    [change] = Episodes().update({frozen: Observation(True, "silent", at_once=True)}, seconds=0, at=START)
    assert (change.subject, change.transition) == (frozen, Transition.FIRING)


def test_a_new_supervisor_neither_repeats_nor_forgets() -> None:
    episodes = Episodes()
    play(episodes, "xxxx")
    restored = Episodes.load(json.loads(json.dumps(episodes.dump())))
    assert restored.episodes == episodes.episodes
    assert play(restored, "xxx...", begin=1000) == [(1025, "resolved")]


def test_what_exists_no_more_is_over_if_everybody_could_look() -> None:
    episodes = Episodes()
    assert play(episodes, "x", subject=RUNNER) == [(0, "firing")]
    for seconds in (5.0, 50.0):
        assert episodes.update({}, seconds=seconds, at=START, is_complete=False) == []
    assert episodes.update({}, seconds=55, at=START) == []
    [change] = episodes.update({}, seconds=65, at=START)
    assert (change.subject, change.transition) == (RUNNER, Transition.RESOLVED)


@pytest.mark.parametrize("content", [None, [], {"nonsense": {}}, {"disk_full": {}}, {"disk_full": {"since": "x"}}])
def test_a_damaged_state_is_refused(content: object) -> None:
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        Episodes.load(content)


def test_a_subject_prints_as_it_is_read() -> None:
    assert [Subject.parse(str(subject)) for subject in (DATABASE, RUNNER)] == [DATABASE, RUNNER]


def test_every_condition_is_reported_within_a_minute() -> None:
    assert set(TERMS) == set(Condition)
    # The look that comes just too late for the beginning, one that hangs, and the sending.
    assert all(terms.hold_seconds + 5 + 5 + 10 <= 60 for terms in TERMS.values())
