"""What is declared of the REST interface: apps register the modules that declare their operations and shapes.

They are named, not imported: a process that nobody asks for the schema never has them in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rest.schema.operation import Operation
    from rest.views import ApiView

_modules: list[str] = []


@dataclass(frozen=True, slots=True)
class Declared:
    """`operations` by view and method in lower case; `components` as OpenAPI has them."""

    operations: Mapping[tuple[type[ApiView], str], Operation]
    components: Mapping[str, Any]


def register_schema(*modules: str) -> None:
    """Have the schema tell of what these modules declare in `OPERATIONS` and `COMPONENTS`, in this order."""
    _modules.extend(module for module in modules if module not in _modules)


@cache
def declared() -> Declared:
    """All of it. Imports the modules."""
    from rest.schema.components import COMPONENTS

    operations: dict[tuple[type[ApiView], str], Operation] = {}
    shapes: dict[str, Any] = {}
    for name in _modules:
        module = import_module(name)
        operations |= module.OPERATIONS
        shapes |= module.COMPONENTS
    return Declared(operations, {**COMPONENTS, "schemas": shapes | COMPONENTS["schemas"]})
