"""The list of all checks. An app adds its own in `AppConfig.ready()`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from health_checks.check import Check, Reader


class HealthCheckRegistry:
    """Checks by name; iteration is by `order`, then name."""

    def __init__(self) -> None:
        self._checks: dict[str, Check[Any]] = {}

    def register(self, *checks: Check[Any]) -> None:
        """Add `checks`; adding one again changes nothing. Raises `ValueError` for another check with a name in use."""
        for check in checks:
            if self._checks.setdefault(check.name, check) is not check:
                raise ValueError(f"There are two checks with the name {check.name!r}.")

    def __getitem__(self, name: str) -> Check[Any]:
        """The check. Raises `KeyError` if there is none."""
        return self._checks[name]

    def __iter__(self) -> Iterator[Check[Any]]:
        return iter(sorted(self._checks.values(), key=lambda check: (check.order, check.name)))

    def for_reader(
        self, reader: Reader, *, has_permission: Callable[[str], bool] = lambda _permission: False
    ) -> list[Check[Any]]:
        """The checks of `reader` for whose permissions `has_permission` returns true."""
        return [
            check
            for check in self
            if reader in check.readers and all(has_permission(permission) for permission in check.permissions)
        ]


registry: Final = HealthCheckRegistry()
