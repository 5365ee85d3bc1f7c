"""Dates in questions."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.recall.date_phrases import DateHint, read_dates

NOW = datetime(2026, 5, 13, 15, 30, tzinfo=UTC)  # a Wednesday


def shown(hint: DateHint) -> list[tuple[str, str]]:
    return [(f"{span.start:%Y-%m-%d}", f"{span.end:%Y-%m-%d}") for span in hint.spans]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("What happened on 7 May 2023?", [("2023-05-07", "2023-05-08")]),
        ("What happened on May 7th, 2023?", [("2023-05-07", "2023-05-08")]),
        ("In June 2024 we", [("2024-06-01", "2024-07-01")]),
        ("on 2024-02-29", [("2024-02-29", "2024-03-01")]),
        ("since 2024-12", [("2024-12-01", "2025-01-01")]),
        ("what did I say yesterday?", [("2026-05-12", "2026-05-13")]),
        ("Today", [("2026-05-13", "2026-05-14")]),
        ("three days ago", [("2026-05-10", "2026-05-11")]),
        ("two weeks ago", [("2026-04-26", "2026-05-03")]),
        ("last week", [("2026-05-04", "2026-05-11")]),
        ("this week", [("2026-05-11", "2026-05-18")]),
        ("last weekend", [("2026-05-09", "2026-05-11")]),
        ("last month", [("2026-04-01", "2026-05-01")]),
        ("last year", [("2025-01-01", "2026-01-01")]),
        ("last Monday", [("2026-05-11", "2026-05-12")]),
        ("last wednesday", [("2026-05-06", "2026-05-07")]),
        ("May I ask you something?", []),
        ("You may march on", [(f"{year}-03-01", f"{year}-04-01") for year in range(2026, 2020, -1)]),
        ("on 31 February 2023", []),
        ("on 2023-13-01", []),
        ("999 years ago", []),
        ("nothing here", []),
    ],
)
def test_dates_are_read(text: str, spans: list[tuple[str, str]]) -> None:
    assert shown(read_dates(text, NOW)) == spans


def test_a_day_without_a_year_may_be_of_any_of_the_last_years() -> None:
    hint = read_dates("on 7 August", NOW)
    assert shown(hint) == [(f"{year}-08-07", f"{year}-08-08") for year in range(2026, 2020, -1)]
    assert [span.start.month for span in hint.wide] == [8] * 6


def test_a_year_is_a_wide_hint() -> None:
    hint = read_dates("Where was she in 2022?", NOW)
    assert (hint.spans, [span.start.year for span in hint.wide]) == ((), [2022])


@given(st.text(max_size=80) | st.from_regex(r"[0-9]{1,5} (days|months|years) ago|[0-9]{4}-[0-9]{2}-[0-9]{2}"))
def test_no_text_breaks_it(text: str) -> None:
    read_dates(text, NOW)
