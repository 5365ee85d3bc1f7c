"""The registry of the modules in which apps declare the operations and components of the schema.

They are registered by name and imported with the first use of the schema, so that other processes do not load them.
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
    """Register modules that declare `OPERATIONS` and `COMPONENTS`; their order is that of the schema."""
    _modules.extend(module for module in modules if module not in _modules)


@cache
def declared() -> Declared:
    """All declarations. Imports the registered modules."""
    from rest.schema.components import COMPONENTS

    operations: dict[tuple[type[ApiView], str], Operation] = {}
    shapes: dict[str, Any] = {}
    for name in _modules:
        module = import_module(name)
        operations |= module.OPERATIONS
        shapes |= module.COMPONENTS
    return Declared(operations, {**COMPONENTS, "schemas": shapes | COMPONENTS["schemas"]})
