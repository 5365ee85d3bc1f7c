"""The glossary: in order, each word with a link to its code, and enough, with the tree, to find twenty places."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
WORDS, QUESTIONS = GLOSSARY.split("\n## Where is", 1)
ROOMS = ("agents", "memory", "monitoring", "platform")
# As many as one looks through: more names than these in the answer to a search are no answer.
SHORT_LIST = 7

_ROW = re.compile(r"^\| (.+) \| (.*\]\(.+\)) \|$", re.MULTILINE)
_TARGET = re.compile(r"\]\((?:\.\./)?([^)#]+)")
_BOLD = re.compile(r"\*\*(.+?)\*\*")


def glossary() -> list[tuple[str, str]]:
    """(word and its meaning, links) of each row."""
    return _ROW.findall(WORDS)


def questions() -> Iterator[tuple[str, str]]:
    """(question, path) of each row."""
    for question, link in _ROW.findall(QUESTIONS):
        yield question, _TARGET.findall(link)[0]


@cache
def modules() -> dict[str, str]:
    """What a newcomer can read of each module without opening it, by its path: the path, the first paragraph of its
    docstring, and the rows of the glossary that link to it."""
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py") if "migrations" not in file.parts]
    return {str(file.relative_to(ROOT)): simple(signposts(file)) for file in sorted(files)}


def signposts(file: Path) -> str:
    path = str(file.relative_to(ROOT))
    headline = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
    return " ".join([path, headline, *(row for row, links in glossary() if path in _TARGET.findall(links))])


def simple(text: str) -> str:
    """Its words in small letters, a space before each."""
    return " " + " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def found(question: str) -> list[str]:
    """The modules in whose signposts all words in bold begin a word, less their endings."""
    stems = [re.sub(r"(?:s|ing|ed)$", "", simple(word)) for word in _BOLD.findall(question)]
    return [path for path, text in modules().items() if all(stem in text for stem in stems)]


def test_the_words_stand_in_order() -> None:
    words = [row.partition(" | ")[0].lower() for row, _ in glossary()]
    assert words == sorted(words)
    assert len(words) == len(set(words)) == WORDS.count("\n| ") - 2


def test_twenty_questions_are_asked() -> None:
    assert len(list(questions())) == 20


@pytest.mark.parametrize(("question", "path"), list(questions()), ids=lambda text: text.rpartition("/")[2])
def test_the_tree_and_the_glossary_answer(question: str, path: str) -> None:
    answers = found(question)
    assert path in answers
    assert len(answers) <= SHORT_LIST


def test_a_question_that_nothing_answers_is_found() -> None:
    assert found("the **turn** and its **unicorn**?") == []
