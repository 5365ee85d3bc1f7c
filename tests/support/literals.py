"""The words that the product's sources hold in quotes, for vocabularies that have one home."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.support.surroundings import ROOT

_PACKAGES = ("agents", "memory", "monitoring", "platform")
_IN_SQL = re.compile(r"'([^'\s]+)'")
_IN_BROWSER = re.compile(r"""(["'`])([^"'`\s]+)\1""")


@dataclass(frozen=True, slots=True)
class Literal:
    """`word` as it stands in quotes in `file`: as an argument of the function `called`, if of any; `inside` of a longer
    text, as words of SQL do."""

    word: str
    file: Path
    line: int
    called: str = ""
    inside: bool = False

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.word}"

    def stands_in(self, *modules: ModuleType) -> bool:
        return str(self.file) in {module.__file__ for module in modules}


@cache
def literals() -> tuple[Literal, ...]:
    """All of them, in Python (and in the SQL and JSON inside of its strings), JavaScript and templates.

    Docstrings, comments and migrations are left out.
    """
    return (*_in_python(), *_in_browser_sources())


def _in_python() -> Iterator[Literal]:
    for package in _PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in file.parts:
                yield from _of_tree(ast.parse(file.read_text(encoding="utf-8")), file)


def _of_tree(tree: ast.Module, file: Path) -> Iterator[Literal]:
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    skipped = {id(statement.value) for statement in statements}
    called = {id(one): _name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) for one in node.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            for word in {node.value, *_IN_SQL.findall(node.value)}:
                yield Literal(word, file, node.lineno, called.get(id(node), ""), inside=word != node.value)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _in_browser_sources() -> Iterator[Literal]:
    for folder in ("agents", "platform", "monitoring", "templates"):
        for file in sorted([*(ROOT / folder).rglob("*.js"), *(ROOT / folder).rglob("*.html")]):
            for line, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
                for _, word in _IN_BROWSER.findall(text):
                    yield Literal(word, file, line)
