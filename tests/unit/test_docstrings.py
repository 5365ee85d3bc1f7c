"""What docstrings and comments point to exists: files, folders, modules of ours and the names in them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("agents", "docs", "memory", "monitoring", "platform", "templates", "tests")
SOURCES = sorted([*ROOT.glob("*.py"), *ROOT.glob(".ci/*.py"), *(file for name in FOLDERS
                                                                for file in (ROOT / name).rglob("*.py"))])  # fmt: skip

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# A file by its ending, or anything below one of our folders; `…`, `*` and `<…>` in it say that it is a pattern.
_FILE = re.compile(r"(?<![\w/.*>:-])(?:[\w-]+/)*[\w-]+\.(?:py|md|js|css|html|toml)\b(?![\w*<…/])")
_BELOW = re.compile(rf"(?<![\w/.*>:-])(?:{'|'.join(FOLDERS)})/[\w/-]*(?![\w.*<…])")
_DOTTED = re.compile(r"(?<![\w/.-])[a-z]\w*(?:\.[A-Za-z_]\w*)+(?![\w/])")


@cache
def packages() -> dict[str, Path]:
    """Our top-level packages."""
    homes = [*ROOT.iterdir(), *(ROOT / "platform").iterdir()]
    return {home.name: home for home in homes if (home / "__init__.py").is_file()}


@cache
def names() -> Counter[str]:
    """How many of our files have a name: one that has it alone is found by it."""
    return Counter(file.name for folder in FOLDERS for file in (ROOT / folder).rglob("*.*"))


@cache
def literals() -> frozenset[str]:
    """Every text in the code: permissions, subprotocols, files of an installation look like modules, too."""
    product = [file for file in SOURCES if ROOT / "tests" not in file.parents]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in product]
    documentation = {id(text) for tree in trees for node in ast.walk(tree) if (text := docstring_of(node))}
    return frozenset(
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    )


def docstring_of(node: ast.AST) -> ast.Constant | None:
    if isinstance(node, _DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr):
        text = node.body[0].value
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            return text
    return None


def words_about(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every docstring and comment."""
    for node in ast.walk(ast.parse(source)):
        if text := docstring_of(node):
            yield text.lineno, str(text.value)
    # Reading tokens is slow; most files have nothing to be found in their comments.
    if any("#" in line and any(references(line.partition("#")[2])) for line in source.splitlines()):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def dead_references(file: Path) -> list[str]:
    """`line: reference` for each that leads nowhere."""
    return [
        f"{line}: {reference}"
        for line, text in words_about(file.read_text(encoding="utf-8"))
        for reference in references(text)
        if not leads_somewhere(reference, file)
    ]


def references(text: str) -> Iterator[str]:
    files = _FILE.findall(text)
    yield from files
    yield from (path for path in _BELOW.findall(text) if not any(file.startswith(path) for file in files))
    for name in _DOTTED.findall(text):
        if name.partition(".")[0] in packages() and name not in files:
            yield name


def leads_somewhere(reference: str, file: Path) -> bool:
    if reference == "__init__.py":  # of any package
        return True
    if "/" in reference or reference.rpartition(".")[2] in {"py", "md", "js", "css", "html", "toml"}:
        there = (ROOT / reference).exists() or (file.parent / reference).exists()
        return there or names()[reference] == 1
    return reference in literals() or is_of_ours(reference)


def is_of_ours(dotted: str) -> bool:
    """Whether it is a module of ours, or a name that one defines or imports."""
    head, *rest = dotted.split(".")
    place = packages()[head]
    while rest and ((place / rest[0]).is_dir() or (place / f"{rest[0]}.py").is_file()):
        place = place / rest.pop(0)
    if not rest:
        return True
    module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    name = rest[0]
    bound = rf"^\s*(?:(?:async\s+)?def|class)\s+{name}\b|^\s*{name}\s*(?::[^=\n]+)?=|^from .*\b{name}\b|^    {name},$"
    return re.search(bound, module.read_text(encoding="utf-8"), re.MULTILINE) is not None


def test_every_reference_leads_somewhere() -> None:
    dead = {str(file.relative_to(ROOT)): dead_references(file) for file in SOURCES}
    assert {file: lines for file, lines in dead.items() if lines} == {}


def test_dead_references_are_found(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(
        '"""See beside.py, docs/api.md, `agents.models.Turn`, `agents.models.turns` and rows in tests/unit."""\n'
        "# manage.py, agents/domain/states.py, the subprotocol bandstand.v1, agents.domain.replay: all there.\n"
        "def here() -> None:\n"
        '    """See turns.md, docs/gone.md, agents/gone, `agents.gone`, `agents.models.Gone`."""  # agents/gone.py\n'
    )
    (tmp_path / "beside.py").touch()
    gone = ["turns.md", "docs/gone.md", "agents/gone", "agents.gone", "agents.models.Gone", "agents/gone.py"]
    assert dead_references(file) == [f"4: {name}" for name in gone]


# --- what says nothing on its own ---

_ELSEWHERE = re.compile(
    r"(?:The same\b|Likewise\b|As above|See above|See the \w+\.|As `)|.*\b(?:as above|Raises as)\b", re.DOTALL
)


def empty_docstrings(source: str) -> list[str]:
    """The public functions and classes whose docstrings send their readers elsewhere for what is returned or raised."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        if (text := docstring_of(node)) and _ELSEWHERE.match(str(text.value))
    ]


def test_a_public_docstring_stands_on_its_own() -> None:
    product = (file for file in SOURCES if ROOT / "tests" not in file.parents)
    found = {str(file.relative_to(ROOT)): empty_docstrings(file.read_text(encoding="utf-8")) for file in product}
    assert {file: names for file, names in found.items() if names} == {}


def test_an_empty_docstring_is_found() -> None:
    texts = {
        "one": "Every row. Raises `E`.",
        "two": "The same in bytes.",
        "three": "Raises as `one`.",
        "_four": "As `a`.",
    }
    source = "\n".join(f'def {name}():\n    """{text}"""' for name, text in texts.items())
    assert empty_docstrings(source) == ["two", "three"]
