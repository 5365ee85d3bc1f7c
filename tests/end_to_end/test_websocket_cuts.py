"""Websockets cut during streams, on two real web processes and a runner: nobody loses or doubles a byte."""

from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from tests.chaos.cuts import LATEST_SECONDS, Said, cut_streams, judge
from tests.chaos.reader import Reader, ReadTurn
from tests.support.surroundings import database_url

CUTS = 12


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("notify", [True, False], ids=["with NOTIFY", "without NOTIFY"])
async def test_what_a_client_puts_together_over_cut_sockets_is_what_is_stored(tmp_path: Path, notify: bool) -> None:
    url = database_url(settings.DATABASES["default"]["NAME"])
    report = await cut_streams(url, tmp_path, cuts=CUTS, notify=notify, seed=20261122)
    assert report.faults == []
    assert report.cuts == CUTS
    assert report.turns > 0
    assert report.late_seconds[-1] <= LATEST_SECONDS


GOOD = Said(turn="t", key="k", status="completed", answer="Straße")
READ = ReadTurn(streamed="Straße", answer="Straße", status="completed")


def faults(said: list[Said], read: ReadTurn | None) -> list[str]:
    reader = Reader(turns={"t": read} if read else {})
    return list(judge(reader, {"k": "Straße"}, said))


def test_the_judge_finds_nothing_where_everything_is_right() -> None:
    assert faults([GOOD], READ) == []


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ([], READ),
        ([GOOD, replace(GOOD, turn="u")], READ),
        ([replace(GOOD, status="failed")], READ),
        ([replace(GOOD, answer="Strasse")], READ),
        ([GOOD], None),
        ([GOOD], ReadTurn(streamed="Straße", status="completed")),
        ([GOOD], ReadTurn(streamed="Straß", answer="Straße", status="completed")),
        ([GOOD], ReadTurn(streamed="StraßeStraße", answer="Straße", status="completed")),
        ([GOOD], ReadTurn(streamed="Straße", answer="Strasse", status="completed")),
    ],
    ids=["lost", "doubled", "failed", "stored wrong", "unread", "unanswered", "cut short", "read twice", "read wrong"],
)
def test_the_judge_finds_every_kind_of_fault(said: list[Said], read: ReadTurn | None) -> None:
    assert faults(said, read)
