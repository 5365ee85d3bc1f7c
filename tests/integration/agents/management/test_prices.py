"""`manage.py prices`: shows, enters, deletes and imports."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents.models import ModelPrice

pytestmark = pytest.mark.django_db


def prices(*words: str) -> str:
    output = StringIO()
    call_command("prices", *words, stdout=output)
    return output.getvalue()


def shown() -> Any:
    return json.loads(prices("show", "--json"))


def test_a_price_is_entered_corrected_and_deleted() -> None:
    assert "Nobody has entered a price." in prices()
    prices("set", "openai:mine", "--input", "0.5", "--output", "2", "--from", "2026-01-31")
    prices("set", "openai:mine", "--input", "0.25", "--output", "2", "--from", "2026-01-31", "--cached-input", "0")
    [price] = shown()["entered"]
    assert price == {
        "route": "openai:mine",
        "from": "2026-01-31",
        "input": "0.25",
        "output": "2",
        "cached_input": "0",
        "cache_write": None,
        "per_request": "0",
    }
    prices("delete", "openai:mine", "--from", "2026-01-31")
    assert shown()["entered"] == []
    with pytest.raises(CommandError, match="There is no such price"):
        prices("delete", "openai:mine")


def test_what_is_shown_can_be_imported_all_or_nothing(tmp_path: Path) -> None:
    prices("set", "openai:*", "--input", "0", "--output", "0", "--from", "2026-01-31")
    file, entered = tmp_path / "prices.json", shown()
    ModelPrice.objects.all().delete()
    file.write_text(json.dumps(entered))
    prices("import", str(file))
    assert shown()["entered"] == entered["entered"]
    ModelPrice.objects.all().delete()
    file.write_text(json.dumps({"entered": [*entered["entered"], {"route": "openai:a", "input": "NaN", "output": 1}]}))
    with pytest.raises(CommandError, match="Entry 2: US dollars from 0"):
        prices("import", str(file))
    assert not ModelPrice.objects.exists()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"entered": {}}', '{"entered": ["x"]}', '{"entered": [{"route": "openai:a"}]}']
)
def test_a_file_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(content)
    with pytest.raises(CommandError):
        prices("import", str(file))
