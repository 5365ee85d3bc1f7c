"""What a search makes of a question."""

from datetime import UTC, datetime

import pytest

from memory.recall.query_preparation import MAX_QUERY_CHARACTERS, PreparedQuery, prepare_query

NOW = datetime(2026, 5, 13, tzinfo=UTC)


def prepared(text: str, *names: str, language: str = "english") -> PreparedQuery:
    return prepare_query(text, names=names, now=NOW, language=language)


@pytest.mark.parametrize(
    ("text", "embedded", "actors"),
    [
        ("When did Ada paint the barn?", "When did paint the barn?", ("Ada",)),
        ("What is ADA's hobby?", "What is hobby?", ("Ada",)),
        ("What is Ada\u2019s hobby?", "What is hobby?", ("Ada",)),
        ("What do Ada and Bob share?", "What do and share?", ()),
        ("Is Adam here?", "Is Adam here?", ()),
        ("Ada", "Ada", ("Ada",)),
        ("Ada?", "Ada?", ("Ada",)),
        ("", "", ()),
    ],
)
def test_names_count_for_the_speaker_and_not_for_the_meaning(text: str, embedded: str, actors: tuple[str, ...]) -> None:
    query = prepared(text, "Ada", "Bob", " ")
    assert (query.text, query.embedded_text, query.actors) == (text, embedded, actors)


def test_the_longest_name_is_taken_out_first() -> None:
    assert prepared("Did Ada Lovelace call?", "Ada", "Ada Lovelace").embedded_text == "Did call?"


def test_a_question_is_cut_and_can_be_stored() -> None:
    assert len(prepared("x" * 10_000).text) == MAX_QUERY_CHARACTERS
    assert "\x00" not in prepared("a\x00b\ud800").text


def test_phrases_are_understood_in_english_only() -> None:
    for language, understood in (("english", True), ("german", False)):
        query = prepared("When did she leave last week?", language=language)
        assert (query.asks_when, bool(query.dates.spans)) == (understood, understood)
    assert not prepared("What did she do?").asks_when
