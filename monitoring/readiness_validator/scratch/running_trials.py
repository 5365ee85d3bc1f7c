"""Starts the process of the trials, and reads its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Final

import structlog
from django.db import DatabaseError, connection

from foundation.text_lines import split_lines
from monitoring.readiness_validator.scratch.scratch_schema import drop_scratch_schema, may_create_schemas
from monitoring.readiness_validator.scratch.trial_settings import TrialReport, TrialSettings

log = structlog.get_logger(__name__)

_BOOT: Final = (
    "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from monitoring.readiness_validator.scratch.trial_process import main; main()"
)
# Longer than the process allows itself.
_START_SECONDS: Final = 45.0
_PARAMETERS: Final = ("NAME", "USER", "PASSWORD", "HOST", "PORT")
_NO_RIGHT: Final = "The database role may not make a schema, in which this is tried apart from all real rows."


def run_trials(settings: TrialSettings) -> TrialReport:
    """Do the trials in a process and a schema of their own; returns what they have measured. Both are gone afterwards.

    Only one at a time: the caller sees to that. Not within a transaction, whose rows no other process sees.
    """
    if not may_create_schemas():
        return _failed(settings, _NO_RIGHT)
    database = {name: connection.settings_dict[name] for name in _PARAMETERS}
    order = json.dumps({"database": database, "settings": settings.dump()}, default=str)
    path = [os.path.abspath(entry) for entry in sys.path]
    try:
        # The password goes through the pipe: others may read the environment and the arguments.
        process = subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", _BOOT, json.dumps(path)],
            input=order,
            capture_output=True,
            text=True,
            timeout=settings.seconds + _START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        _clean_up()
        return _failed(settings, "It took too long.")
    if process.returncode:
        _clean_up()
        lines = split_lines(process.stderr.strip()) or [f"status {process.returncode}"]
        log.error("readiness_trials.failed", status=process.returncode, output=process.stderr[-4000:])
        return _failed(settings, f"Its process has failed: {lines[-1][:200]}")
    return _parse(json.loads(process.stdout))


def _clean_up() -> None:
    try:
        drop_scratch_schema()
    except DatabaseError as error:
        # The next run drops it.
        log.warning("readiness_trials.not_cleaned", reason=str(error))


def _failed(settings: TrialSettings, fault: str) -> TrialReport:
    return TrialReport(faults=dict.fromkeys(settings.trials, fault))


def _parse(document: dict[str, Any]) -> TrialReport:
    return TrialReport(document["results"], document["faults"])
