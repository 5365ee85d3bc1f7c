"""A list as a file: nothing in it is a formula, and every value can be read back."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import pytest

from console.list_export import ExportColumn, FileFormat, file_head, file_rows

COLUMNS = tuple(ExportColumn(name, attrgetter(name)) for name in ("name", "number"))


def written(file_format: FileFormat, *rows: tuple[Any, Any]) -> str:
    spaces = [SimpleNamespace(name=name, number=number) for name, number in rows]
    return (file_head(file_format, COLUMNS) + file_rows(file_format, COLUMNS, spaces)).decode()


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@sum(1)", "\t=1", "\r=1", "\n=1", "  =1",
     "\uff1d1", "\uff0b1", "\uff0d1", "\uff201", "=HYPERLINK(\"x\")"],
)  # fmt: skip
def test_text_that_could_be_a_formula_begins_with_an_apostrophe(text: str) -> None:
    file = io.StringIO(written(FileFormat.CSV, (text, -5)), newline="")
    [_, [name, number]] = csv.reader(file)
    assert name == f"'{text}"
    assert number == "-5"


def test_values_come_back_as_they_were() -> None:
    at = datetime(2026, 1, 31, 8, 15, 0, 5000, UTC)
    rows: list[tuple[Any, Any]] = [
        ('a "b", c;\nd', Decimal("0.00001700")), (at, None), (True, 3), ("ü🎷", 1.5), ({"a": 1}, Decimal("0E-8")),
    ]  # fmt: skip
    text = written(FileFormat.CSV, *rows)
    assert text.startswith('\N{ZERO WIDTH NO-BREAK SPACE}"name","number"\r\n')
    assert list(csv.reader(io.StringIO(text[1:], newline="")))[1:] == [
        ['a "b", c;\nd', "0.00001700"], ["2026-01-31T08:15:00.005Z", ""], ["true", "3"], ["ü🎷", "1.5"],
        ['{"a":1}', "0.00000000"],
    ]  # fmt: skip
    lines = [json.loads(line) for line in written(FileFormat.JSONL, *rows).splitlines()]
    assert [list(line.values()) for line in lines] == [
        ['a "b", c;\nd', "0.00001700"], ["2026-01-31T08:15:00.005Z", None], [True, 3], ["ü🎷", 1.5],
        [{"a": 1}, "0.00000000"],
    ]  # fmt: skip
