"""The rooms of the house: every package stands in the contract of layers, and the contract refuses what it should."""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter.configuration import configure
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

from tests.support.surroundings import ROOT

configure()
KINDS = {"layers": LayersContract, "forbidden": ForbiddenContract}
# Of Django, for its own use; nobody imports from them.
UNLAYERED = {"migrations", "templatetags"}
# What `import-linter` is not asked about: the tests, and Django's folder of pages.
TESTS = {"tests"}


@cache
def options() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)["tool"]["importlinter"]
    return found


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*options()["root_packages"], include_external_packages=True, cache_dir=None)


def layers() -> set[str]:
    """Every module that the contract of layers names."""
    [contract] = [one for one in options()["contracts"] if one["type"] == "layers"]
    return {name.strip(" ()") for layer in contract["layers"] for name in layer.split("|")}


def rooms() -> Iterator[str]:
    """Our top-level packages, by their folders."""
    for folder in (*ROOT.iterdir(), *(ROOT / "platform").iterdir()):
        if (folder / "__init__.py").is_file() and folder.name not in TESTS:
            yield folder.name


def parts_of_agents() -> Iterator[str]:
    for path in (ROOT / "agents").iterdir():
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            yield path.stem


def test_every_room_stands_in_the_layers() -> None:
    assert set(rooms()) == {layer for layer in layers() if "." not in layer and exists(layer)} | {"agents"}
    assert set(options()["root_packages"]) == set(rooms())


def test_every_part_of_agents_stands_in_the_layers() -> None:
    named = {layer.removeprefix("agents.") for layer in layers() if layer.startswith("agents.")}
    assert set(parts_of_agents()) - UNLAYERED - {"__init__"} <= named


def exists(room: str) -> bool:
    return (ROOT / room).is_dir() or (ROOT / "platform" / room).is_dir()


def test_the_folder_platform_is_no_package() -> None:
    """It would stand before the standard library's module of that name."""
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_templates_stand_in_one_folder() -> None:
    strays = [path for room in (ROOT / "agents", ROOT / "memory", ROOT / "monitoring", ROOT / "platform")
              for path in room.rglob("*.html")]  # fmt: skip
    assert strays == []


def broken_by(importer: str, imported: str) -> list[str]:
    """The contracts that an import of `imported` in `importer` would break."""
    imports = graph()
    assert {importer, imported} <= imports.modules, f"{importer} or {imported} is gone: plant the import elsewhere"
    assert not imports.direct_import_exists(importer=importer, imported=imported)
    imports.add_import(importer=importer, imported=imported)
    try:
        return [one["name"] for one in options()["contracts"] if not kept(one, imports)]
    finally:
        imports.remove_import(importer=importer, imported=imported)


def kept(contract: dict[str, Any], imports: grimp.ImportGraph) -> bool:
    session = {key: value for key, value in options().items() if key != "contracts"}
    rest = {key: value for key, value in contract.items() if key != "type"}
    checked = KINDS[contract["type"]](contract["name"], session_options=session, contract_options=rest)
    return bool(checked.check(imports, verbose=False).kept)


FORBIDDEN = [
    ("foundation.clock", "rest.errors"),
    ("console.admin", "accounts.models"),
    ("console.guide", "markdown_rendering"),
    ("ratelimits.buckets", "accounts.models"),
    ("accounts.users", "agents.models"),
    ("accounts.users", "scheduling.models"),
    ("scheduling.job_execution", "agents.tasks"),
    ("scheduling.job_execution", "rest.views"),
    ("rest.views", "agents.sessions"),
    ("memory.apps", "agents.models"),
    ("agents.domain.replay", "django"),
    ("agents.domain.replay", "foundation.clock"),
    ("agents.domain.replay", "memory.apps"),
    ("agents.domain.replay", "accounts.actor"),
    ("agents.domain.replay", "agents.models"),
    ("agents.models.turns", "agents.permissions.agents"),
    ("agents.permissions.agents", "agents.journal.claims"),
    ("agents.journal.claims", "agents.llm.gateway"),
    ("agents.journal.claims", "agents.sessions.access"),
    ("agents.sessions.access", "agents.engine.turn"),
    ("agents.releases.publish", "agents.sessions.access"),
    ("agents.engine.turn", "agents.runner.process"),
    ("agents.engine.turn", "monitoring.readiness"),
    ("agents.http.streams", "agents.engine.turn"),
    ("agents.api.turns", "agents.engine.turn"),
    ("agents.api.turns", "agents.ws.frames"),
    ("agents.openai_api.views", "agents.api.turns"),
    ("agents.pages.views", "agents.admin.turns"),
    ("agents.runner.process", "agents.tasks"),
    ("agents.tasks", "monitoring.readiness"),
    ("monitoring.readiness", "bandstand.health"),
]


@pytest.mark.parametrize(("importer", "imported"), FORBIDDEN, ids=lambda name: name)
def test_a_forbidden_import_is_refused(importer: str, imported: str) -> None:
    assert broken_by(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("memory.apps", "rest.views"),
        ("memory.enums", "accounts.audit"),
        ("memory.apps", "console.admin"),
        ("agents.tasks", "memory.apps"),
        ("monitoring.readiness", "agents.models"),
    ],
    ids=lambda name: name,
)
def test_what_the_next_rooms_need_is_allowed(importer: str, imported: str) -> None:
    assert broken_by(importer, imported) == []


# --- names of ours that libraries import ---

# sentry-sdk reports for OpenAI's agents library, whose package has the name of ours: `bandstand.sentry` keeps that off.
KNOWN = {("agents", "sentry_sdk/integrations/openai_agents")}


def test_no_library_would_import_one_of_our_packages_by_mistake() -> None:
    ours = {*rooms(), "tests"}
    hits = {(name, path) for name, path in foreign_imports(ours) if not any((name, p) in KNOWN for p in parents(path))}
    assert hits == set()


def parents(path: str) -> list[str]:
    return [str(parent) for parent in Path(path).parents]


def foreign_imports(names: set[str]) -> Iterator[tuple[str, str]]:
    """(name, file) of every absolute import of one of `names` in the installed libraries, also within functions."""
    names_ours = "|".join(sorted(names))
    mentioned = re.compile(rf"^[ \t]*(?:from|import(?: [\w., ]*,)?)[ \t]+(?:{names_ours})\b".encode(), re.MULTILINE)
    for folder in {sysconfig.get_paths()[kind] for kind in ("purelib", "platlib")}:
        for path in Path(folder).rglob("*.py"):
            source = path.read_bytes()
            if mentioned.search(source):
                yield from ((name, str(path.relative_to(folder))) for name in imported_heads(source) & names)


def imported_heads(source: bytes) -> set[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a template of a code generator, or of another Python
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_an_import_is_found_wherever_it_stands() -> None:
    source = (
        b"def f():\n    try:\n        import os, console.admin\n    except ImportError:\n        from rest import x\n"
    )
    assert imported_heads(source) == {"os", "console", "rest"}
    assert imported_heads(b"from . import console\nfrom .rest import x\n") == set()


def test_no_package_has_the_name_of_a_module_of_the_standard_library() -> None:
    assert set(rooms()) & set(sys.stdlib_module_names) == set()
