"""Lines end where editors and browsers end them, and nowhere else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.text_lines import split_lines
from tests.support.surroundings import ROOT

PRODUCT = ("agents", "memory", "monitoring", "platform", "tests/provider")
# Where `splitlines` may stand, with the reason.
ALLOWED: dict[str, str] = {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\nb\r\nc\rd", ["a", "b", "c", "d"]),
        ("\n\n", ["", ""]),
        ("a\x85b\u2028c\u2029d\x0be\x0cf\x1cg\x1dh\x1ei", ["a\x85b\u2028c\u2029d\x0be\x0cf\x1cg\x1dh\x1ei"]),
    ],
)
def test_text_is_split_at_the_ends_of_lines(text: str, lines: list[str]) -> None:
    assert split_lines(text) == lines


def test_nothing_is_split_at_what_only_python_takes_for_the_end_of_a_line() -> None:
    places = {f"{path}:{line}" for folder in PRODUCT for path, line in _uses(ROOT / folder)}
    assert {place for place in places if place.partition(":")[0] not in ALLOWED} == set()


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("x = ''\nx.splitlines()\nstr.splitlines\nmap(str.splitlines, [])\n")
    assert sorted(line for _, line in _uses(tmp_path)) == [2, 3, 4]


def _uses(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "splitlines":
                yield str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path), node.lineno
