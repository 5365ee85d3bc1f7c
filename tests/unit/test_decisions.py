"""DECISIONS.md: its entries are numbered without gaps, and its index says of each whether it still holds."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("agents", "memory", "monitoring", "platform", "tests")

_ENTRY = re.compile(r"^## (\d+)\. (.+) \(\d{4}-\d\d-\d\d\)$", re.MULTILINE)
_ROW = re.compile(r"^\| (\d+) \| (.+) \| ([^|]+) \|$", re.MULTILINE)
# Of several later entries, each may have changed a part.
_STATUS = re.compile(r"accepted|superseded by (\d+)|amended by (\d+(?:, \d+)*)")

# A name of code, not a word: with an underscore, or a capital behind a small letter.
_CODE = re.compile(r"`_?[A-Za-z]\w*(?:_|[a-z][A-Z])\w*`")
# Django's and drf-spectacular's, for whoever turns something back.
FOREIGN = {"extend_schema"}

TEXT = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")


def entries(text: str) -> list[tuple[int, str]]:
    """(number, title) of each entry."""
    return [(int(number), title) for number, title in _ENTRY.findall(text)]


def index(text: str) -> list[tuple[int, str, str]]:
    """(number, title, status) of each row of the index."""
    return [(int(number), title, status) for number, title, status in _ROW.findall(text)]


def wrong_statuses(text: str) -> list[tuple[int, str]]:
    """Rows whose status is unknown, or names an entry that does not come later."""
    numbers = {number for number, _ in entries(text)}
    return [(number, status) for number, _, status in index(text) if not holds(number, status, numbers)]


def holds(number: int, status: str, numbers: set[int]) -> bool:
    match = _STATUS.fullmatch(status)
    if match is None:
        return False
    later = [int(other) for other in re.findall(r"\d+", status)]
    return all(other in numbers and other > number for other in later)


def test_the_entries_are_numbered_without_gaps() -> None:
    headings = re.findall(r"^## .+$", TEXT, re.MULTILINE)
    assert [number for number, _ in entries(TEXT)] == list(range(1, len(headings) + 1))


def test_the_index_names_every_entry() -> None:
    assert [(number, title) for number, title, _ in index(TEXT)] == entries(TEXT)


def test_every_status_is_known_and_names_a_later_entry() -> None:
    assert wrong_statuses(TEXT) == []


def test_the_names_of_code_are_those_of_today() -> None:
    names = {name.strip("`") for name in _CODE.findall(TEXT)} - FOREIGN
    sources = [file for room in ROOMS for ending in ("*.py", "*.js") for file in (ROOT / room).rglob(ending)]
    code = set(re.findall(r"\w+", "\n".join(file.read_text(encoding="utf-8") for file in sources)))
    assert names - code == set()


def test_a_wrong_status_is_found() -> None:
    rows = ["accepted", "superseded by 3", "superseded by 2", "amended by 9", "rejected", "superseded by"]
    text = "\n".join(f"| {number} | One | {status} |" for number, status in enumerate(rows, 1))
    text += "\n" + "\n".join(f"## {number}. One (2026-01-01)" for number in range(1, 7))
    assert wrong_statuses(text) == [
        (3, "superseded by 2"),
        (4, "amended by 9"),
        (5, "rejected"),
        (6, "superseded by"),
    ]
