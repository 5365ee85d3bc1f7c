"""docs/building.md does what it says: its package is installed and tested."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agents.tools.toolbox import ENTRY_POINTS, installed_tools
from tests.support.guide import run_tests, write_package


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path)


def test_the_tests_of_the_guides_tools_pass(package: Path) -> None:
    run_tests(package, "tests/test_orders.py")


def test_the_guides_entry_points_are_tools(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [EntryPoint(name, value, ENTRY_POINTS) for name, value in project["entry-points"][ENTRY_POINTS].items()]
    names = {each.name for each in installed_tools(found)}
    assert {"order_status", "cancel_order"} <= names
