"""A list as a file: CSV for spreadsheets, JSON lines for programs, made page by page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from console.keyset_changelist import KeysetChangeList, custom_plan

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

# Rows of one file; a filter by time makes several files of more.
MAX_ROWS: Final = 1_000_000
# Rows that are in memory at once, and with what was said, of which a row may have much.
PAGE_ROWS: Final = 1_000
PAGE_ROWS_WITH_CONTENTS: Final = 100
# Text that begins so is a formula to some spreadsheet, also behind blanks.
_FORMULA: Final = frozenset("=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
                            "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
# Without it, spreadsheets take UTF-8 for something else.
_BYTE_ORDER_MARK: Final = "\N{ZERO WIDTH NO-BREAK SPACE}"

Value = str | int | float | bool | Decimal | datetime | UUID | dict[str, Any] | None


class FileFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"

    @property
    def media_type(self) -> str:
        return "text/csv; charset=utf-8" if self is FileFormat.CSV else "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column of an export: its name, and its value of a row. `is_content`: what was said, for readers of it only."""

    name: str
    value: Callable[[Any], Value]
    is_content: bool = False


def file_head(file_format: FileFormat, columns: Sequence[ExportColumn]) -> bytes:
    """What stands before the rows."""
    if file_format is FileFormat.JSONL:
        return b""
    return (_BYTE_ORDER_MARK + _csv_rows([[column.name for column in columns]])).encode()


def file_rows(file_format: FileFormat, columns: Sequence[ExportColumn], rows: Sequence[Any]) -> bytes:
    """`rows` as lines of the file."""
    if file_format is FileFormat.CSV:
        return _csv_rows([[_csv_value(column.value(row)) for column in columns] for row in rows]).encode()
    return b"".join(
        orjson.dumps(
            {column.name: _json_value(column.value(row)) for column in columns}, option=orjson.OPT_APPEND_NEWLINE
        )
        for row in rows
    )


def list_pages(changelist: ChangeList, *, page_rows: int, max_rows: int = MAX_ROWS) -> Iterator[list[Any]]:
    """The keys of all rows of a list in its filters and search, newest first, by pages of `page_rows`.

    Each page is a transaction of its own, which ends before the page is returned.
    """
    last, rest = None, max_rows
    while rest > 0:
        keys = _newest_keys(changelist, before=last, limit=min(page_rows, rest))
        if not keys:
            return
        yield keys
        last, rest = keys[-1], rest - len(keys)


def _newest_keys(changelist: ChangeList, *, before: Any, limit: int) -> list[Any]:
    rows = changelist.queryset if before is None else changelist.queryset.filter(pk__lt=before)
    rows = rows.order_by("-pk")
    with custom_plan():
        if isinstance(changelist, KeysetChangeList):
            return list(changelist.newest_keys(rows, limit))
        return list(rows.values_list("pk", flat=True)[:limit])


def _csv_rows(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    # All text is quoted: a comma is not the separator of every spreadsheet.
    csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _csv_value(value: Value) -> str | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = orjson.dumps(value).decode() if isinstance(value, dict) else str(_json_value(value))
    is_formula = text[:1] in _FORMULA or text.lstrip()[:1] in _FORMULA
    return f"'{text}" if is_formula and not isinstance(value, Decimal) else text


def _json_value(value: Value) -> Any:
    if isinstance(value, datetime):
        return _moment(value)
    # Money is a decimal string on the wire, here too.
    return f"{value:f}" if isinstance(value, Decimal) else value


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
