"""Defects for the negative controls, put into a child process from outside: the harness must notice each of them."""

from __future__ import annotations

NO_EPOCH = "no epoch in the fence"

_EPOCH = " AND active_epoch = %(epoch)s"


def install(defect: str) -> None:
    """Spoil the product that this process has imported. Raises `LookupError` when there is nothing left to spoil."""
    if defect != NO_EPOCH:
        raise LookupError(f"there is no defect {defect!r}")
    from agents.journal import sql

    for name in ("APPEND", "ADVANCE", "FINISH"):
        statement: str = getattr(sql, name)
        if statement.count(_EPOCH) != 1:
            raise LookupError(f"the fence of {name} does not read as it did")
        setattr(sql, name, statement.replace(_EPOCH, ""))
