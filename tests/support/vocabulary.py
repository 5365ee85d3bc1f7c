"""How far the names of the code are the field's own, measured: `python -m tests.support.vocabulary`.

Two figures, by the rule of the design page on the house: how many bindings (locals, parameters, loop variables, names
in modules and classes) *are* one of the words of a private dialect, per 1,000 bindings; and how many public functions
end in a preposition, in percent. Tests and migrations do not count.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.surroundings import ROOT

ROOMS = ("agents", "memory", "monitoring", "platform")
# Participles and adverbs that stand where a noun belongs.
ODD_WORDS = frozenset(
    [
        "told",
        "given",
        "found",
        "wanted",
        "asked",
        "stood",
        "begun",
        "known",
        "meant",
        "said",
        "there",
        "kept",
        "made",
        "taken",
        "held",
        "answered",
        "besides",
        "mine",
        "ours",
        "theirs",
        "others",
        "alone",
        "again",
        "whole",
        "least",
        "most",
        "left",
        "few",
        "many",
        "words",
        "ended",
        "shown",
        "chosen",
        "standing",
        "before",
        "beside",
        "place",
        "owed",
    ]
)
# Words for which the field has a term: they name no module, class or public function.
RETIRED_WORDS = frozenset(["deed", "deeds", "sieve", "sieves", "letter", "letters", "purse", "pocket", "door", "doors"])
_PREPOSITION = re.compile(r"_(of|in|by|at|on|for|after|below)$")


@dataclass
class Measure:
    """What was counted. `odd` are (file, line, word); `prepositions` (file, line, name) of public functions."""

    bindings: int = 0
    public_functions: int = 0
    odd: list[tuple[str, int, str]] = field(default_factory=list)
    prepositions: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def odd_per_thousand(self) -> float:
        return 1000 * len(self.odd) / max(1, self.bindings)

    @property
    def preposition_percent(self) -> float:
        return 100 * len(self.prepositions) / max(1, self.public_functions)


def sources() -> Iterator[Path]:
    """Our Python, without migrations."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def shared_module_names() -> Mapping[str, list[str]]:
    """The files of each module name that more than one package uses."""
    files = defaultdict(list)
    for path in sources():
        if path.stem != "__init__":
            files[path.stem].append(str(path.relative_to(ROOT)))
    return {name: paths for name, paths in files.items() if len(paths) > 1}


def shared_class_names() -> Mapping[str, list[str]]:
    """The files of each class name that is defined more than once; classes inside of others do not count."""
    files = defaultdict(list)
    for path in sources():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                files[node.name].append(str(path.relative_to(ROOT)))
    return {name: paths for name, paths in files.items() if len(paths) > 1}


def measure() -> Measure:
    """Both figures over the whole code."""
    counted = Measure()
    for path in sources():
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (binding := _binding(node)) is not None:
                counted.bindings += 1
                if binding in ODD_WORDS:
                    counted.odd.append((name, getattr(node, "lineno", 0), binding))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                counted.public_functions += 1
                if _PREPOSITION.search(node.name):
                    counted.prepositions.append((name, node.lineno, node.name))
    return counted


def _binding(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return node.id
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.ExceptHandler):
        return node.name
    return None


def main() -> None:
    counted = measure()
    print(f"odd words: {len(counted.odd)} of {counted.bindings} bindings, {counted.odd_per_thousand:.1f} per 1,000")
    print(*(f"  {word} {times}" for word, times in Counter(word for *_, word in counted.odd).most_common()), sep="\n")
    print(
        f"prepositions: {len(counted.prepositions)} of {counted.public_functions} public functions, "
        f"{counted.preposition_percent:.1f} %"
    )
    print(*(f"  {file}:{line} {name}" for file, line, name in counted.prepositions), sep="\n")


if __name__ == "__main__":
    main()
