"""`manage.py traces`: shows the trace of a turn, exports those of a session, and puts sessions and agents into debug
mode."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson
from django.core.management.base import BaseCommand, CommandError

from accounts.actor import Actor
from agents.models import Agent, Turn
from foundation.errors import BandstandError
from foundation.private_files import open_private
from monitoring.debugging import active_modes, begin_debug_mode, end_debug_mode
from monitoring.models import DebugMode
from monitoring.trace.export import begin_export, export_pieces
from monitoring.trace.reading import Trace, read_trace
from monitoring.trace.waterfall import make_waterfall

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
# The bar of a part, in characters.
_BAR: Final = 40


class Command(BaseCommand):
    help = "Show the trace of a turn, export the traces of a session as one JSON file, or begin and end debug mode."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="{show,export,debug}")
        show = actions.add_parser("show", help="what happened when in a turn, and where the time went")
        show.add_argument("turn", type=UUID, help="the id of a turn")
        show.add_argument("--json", action="store_true", help="as JSON")
        export = actions.add_parser("export", help="all turns of a session as one JSON file")
        export.add_argument("session", type=UUID, help="the id of a session")
        export.add_argument("--out", type=Path, help="the file to write, which only you can read; else standard output")
        # What it writes is JSON in any case.
        export.add_argument("--json", action="store_true", help="as JSON, which it always is")
        debug = actions.add_parser("debug", help="list debug modes, or begin and end one")
        debug.add_argument("state", nargs="?", default="list", choices=["list", "on", "off"])
        target = debug.add_mutually_exclusive_group()
        target.add_argument("--session", type=UUID, help="the id of a session")
        target.add_argument("--agent", help="the slug of an agent")
        debug.add_argument("--for", dest="duration", default="1h", help="10m, 8h or 1d; 1h if unset")
        debug.add_argument("--reason", default="", help="why; it stands in the audit trail")
        debug.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = Actor.system("traces")
        try:
            match options["action"]:
                case "show":
                    self._show(options["turn"], as_json=options["json"])
                case "export":
                    self._export(actor, options["session"], options["out"])
                case _:
                    self._debug(actor, options)
        except BandstandError as error:
            raise CommandError(error.detail) from None

    def _show(self, turn_id: UUID, *, as_json: bool) -> None:
        turn = Turn.objects.select_related("release__agent").filter(pk=turn_id).first()
        if turn is None:
            raise CommandError("There is no such turn.")
        trace = read_trace(turn)
        if as_json:
            self._write_json(trace.as_json())
        else:
            for line in _lines(trace):
                self.stdout.write(line)

    def _export(self, actor: Actor, session_id: UUID, out: Path | None) -> None:
        pieces = export_pieces(begin_export(actor, session_id))
        if out is not None:
            with open_private(out, "wb") as file:
                file.writelines(pieces)
            self.stderr.write(f"Written to {out}.")
            return
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.write(b"\n")

    def _debug(self, actor: Actor, options: dict[str, Any]) -> None:
        session_id, agent_id = options["session"], _agent_id(options["agent"])
        if options["state"] != "list" and session_id is None and agent_id is None:
            raise CommandError("Name a --session or an --agent.")
        if options["state"] == "on":
            begin_debug_mode(
                actor,
                session_id=session_id,
                agent_id=agent_id,
                seconds=_read_duration(options["duration"]),
                reason=options["reason"],
            )
        modes = active_modes().select_related("agent")
        if session_id is not None:
            modes = modes.filter(session=session_id)
        if agent_id is not None:
            modes = modes.filter(agent=agent_id)
        if options["state"] == "off":
            for mode in modes:
                end_debug_mode(actor, mode.pk)
        self._list(list(modes.all()), as_json=options["json"])

    def _list(self, modes: list[DebugMode], *, as_json: bool) -> None:
        if as_json:
            self._write_json([_mode_json(mode) for mode in modes])
            return
        for mode in modes:
            until = f"{mode.until:%Y-%m-%d %H:%M:%S} UTC"
            self.stdout.write(f"{_target(mode)}  until {until}  by {mode.begun_by}: {mode.reason}")
        if not modes:
            self.stdout.write("Nothing is in debug mode.")

    def _write_json(self, value: Any) -> None:
        self.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def _lines(trace: Trace) -> list[str]:
    """The waterfall in characters, and the summary in words."""
    rows = make_waterfall(trace.timeline).rows
    label = max((len(row.label) for row in rows), default=0)
    lines = []
    for row in rows:
        begin, width = row.x * _BAR // 1_000, max(1, row.width * _BAR // 1_000)
        bar = (" " * min(begin, _BAR - 1) + "#" * width)[:_BAR].ljust(_BAR)
        state = f"  {row.state}" if row.state else ""
        lines.append(f"{row.label.ljust(label)}  {row.took:>10}  |{bar}|{state}")
    return [*lines, *trace.summary.sentences()]


def _target(mode: DebugMode) -> str:
    return f"agent {mode.agent.slug}" if mode.agent is not None else f"session {mode.session}"


def _mode_json(mode: DebugMode) -> dict[str, Any]:
    return {
        "id": str(mode.pk),
        "session": str(mode.session) if mode.session else None,
        "agent": mode.agent.slug if mode.agent is not None else None,
        "reason": mode.reason,
        "begun_by": mode.begun_by,
        "begun_at": mode.begun_at.isoformat(),
        "until": mode.until.isoformat(),
    }


def _agent_id(slug: str | None) -> UUID | None:
    if slug is None:
        return None
    agent_id: UUID | None = Agent.objects.filter(slug=slug).values_list("pk", flat=True).first()
    if agent_id is None:
        raise CommandError(f"There is no agent {slug}.")
    return agent_id


def _read_duration(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise CommandError(f"{text} is no duration: 10m, 8h or 1d.")
    return int(match[1]) * _UNITS[match[2]]
