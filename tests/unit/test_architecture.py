"""What docs/architecture.md says of the rooms is what the contract of imports says, and what the code does."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("\n## 5. ")[2].partition("\n## 6. ")[0]
PLATFORM = ROOT / "platform"
ABOVE = ("agents", "memory", "monitoring")


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose head begins so."""
    rows = CHAPTER.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_layers_are_those_of_the_contract() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        [contract] = [one for one in tomllib.load(file)["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    layers = [[name.strip(" ()") for name in layer.split("|")] for layer in contract["layers"]]
    assert [re.findall(r"`([\w.]+)`", row[0]) for row in table("layer")] == layers


def test_every_package_of_platform_is_in_the_tree() -> None:
    tree = CHAPTER.partition("```\n")[2].partition("\n```")[0]
    packages = {folder.name for folder in PLATFORM.iterdir() if (folder / "__init__.py").is_file()}
    assert set(re.findall(r"^  (\w+)/", tree, re.MULTILINE)) == packages


def test_the_imports_that_leave_platform_are_those_with_a_reason() -> None:
    found = {
        (str(file.relative_to(ROOT)), ".".join(module.split(".")[:2]) if room == "agents" else room)
        for file in PLATFORM.rglob("*.py")
        for module in imported(file)
        if (room := module.partition(".")[0]) in ABOVE
    }
    told = {
        (path, room)
        for files, rooms, *_ in table("in `bandstand`")
        for path in re.findall(r"\]\(\.\./([^)]+)\)", files)
        for room in re.findall(r"`([\w.]+)`", rooms)
    }
    assert found == told


def imported(file: Path) -> set[str]:
    """The modules and names that a file imports, also within functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names
