"""Defects for the negative controls, put into a child process from outside: the harness must notice each of them."""

from __future__ import annotations

NO_EPOCH = "no epoch in the fence"
BLIND_START = "a start that does not look at synchronous_commit"

# How the fence of each write reads the epoch.
_EPOCHS = {
    "APPEND": " AND active_epoch = %(epoch)s",
    "APPEND_EACH": " AND s.active_epoch = w.epoch",
    "ADVANCE": " AND active_epoch = %(epoch)s",
    "FINISH": " AND active_epoch = %(epoch)s",
}


def install(defect: str) -> None:
    """Spoil the product that this process has imported. Raises `LookupError` when there is nothing left to spoil."""
    if defect == NO_EPOCH:
        _drop_epoch()
    elif defect == BLIND_START:
        _blind_start()
    else:
        raise LookupError(f"there is no defect {defect!r}")


def _drop_epoch() -> None:
    from agents.journal import sql

    for name, epoch in _EPOCHS.items():
        statement: str = getattr(sql, name)
        if statement.count(epoch) != 1:
            raise LookupError(f"the fence of {name} does not read as it did")
        setattr(sql, name, statement.replace(epoch, ""))


def _blind_start() -> None:
    """No process starts on a database that may lose commits; the control needs some that do."""
    from bandstand import boot_checks

    if "synchronous_commit" not in boot_checks.DURABILITY:
        raise LookupError("nothing looks at synchronous_commit any more")
    vars(boot_checks)["DURABILITY"] = ()
