"""Log files are bounded in size, number and age."""

import os
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bandstand.supervisor.log_rotation import LogLimits, rotate_logs, rotated_files

NOON = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
LIMITS = LogLimits(megabytes=4, days=30)
MEBIBYTE = 1024 * 1024


def grow(log: Path, size: int) -> None:
    with log.open("ab") as file:
        file.truncate(size)


def written_at(at: datetime) -> str:
    return '{"event": "turn.failed", "timestamp": "' + at.isoformat() + '"}\n'


def test_a_large_log_is_emptied_under_its_writer_and_kept_beside_it(tmp_path: Path) -> None:
    log = tmp_path / "web-1.log"
    with log.open("a") as file:
        grow(log, MEBIBYTE + 1)
        rotate_logs(tmp_path, LIMITS, now=NOON)
        file.write("later\n")
    assert log.read_text() == "later\n"
    [rotated] = rotated_files(log)
    assert (rotated.name, rotated.stat().st_size) == ("web-1.log.2026-11-30T12-00-00", MEBIBYTE + 1)
    assert rotated.stat().st_mode & 0o077 == 0, "only its owner reads it"


def test_all_files_of_a_process_together_are_bounded(tmp_path: Path) -> None:
    log = tmp_path / "runner-1.log"
    for number in range(12):
        grow(log, MEBIBYTE + 1)
        rotate_logs(tmp_path, LIMITS, now=NOON + timedelta(minutes=number))
    assert [file.name[-8:] for file in rotated_files(log)] == ["12-09-00", "12-10-00", "12-11-00"]


@pytest.mark.parametrize(
    "line",
    [written_at(NOON - timedelta(hours=25)), "2026-11-29 10:00:00.123 UTC [42] LOG:  checkpoint\n"],
    ids=["ours", "PostgreSQL"],
)
def test_a_log_that_covers_a_day_is_rotated_however_small_it_is(tmp_path: Path, line: str) -> None:
    log = tmp_path / "postgres.log"
    log.write_text(line)
    rotate_logs(tmp_path, LIMITS, now=NOON)
    assert (log.read_text(), len(rotated_files(log))) == ("", 1)
    rotate_logs(tmp_path, LIMITS, now=NOON + timedelta(days=2))
    assert len(rotated_files(log)) == 1, "an empty one is not"


@pytest.mark.parametrize("line", [written_at(NOON - timedelta(hours=1)), "2026-99-99T10:00:00 a crash\n", "no time\n"])
def test_a_log_of_today_stays(tmp_path: Path, line: str) -> None:
    log = tmp_path / "web-1.log"
    log.write_text(line)
    os.utime(log, (NOON.timestamp(), NOON.timestamp()))
    rotate_logs(tmp_path, LIMITS, now=NOON)
    assert (log.read_text(), rotated_files(log)) == (line, [])


def test_a_rotated_file_goes_after_the_days_of_its_setting(tmp_path: Path) -> None:
    log = tmp_path / "web-1.log"
    log.touch()
    for days in (29, 31):
        at = NOON - timedelta(days=days)
        rotated = tmp_path / f"web-1.log.{at:%Y-%m-%dT%H-%M-%S}"
        rotated.write_text("old\n")
        os.utime(rotated, (at.timestamp(), at.timestamp()))
    rotate_logs(tmp_path, LIMITS, now=NOON)
    assert [file.name for file in rotated_files(log)] == ["web-1.log.2026-11-01T12-00-00"]


def test_without_room_for_a_copy_the_log_is_emptied_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "web-1.log"
    log.write_bytes(b"x" * (MEBIBYTE + 1))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))  # Python ignores SIGXFSZ
    try:
        rotate_logs(tmp_path, LIMITS, now=NOON)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (log.stat().st_size, rotated_files(log)) == (0, [])
    assert "was emptied without a copy" in capsys.readouterr().err


def test_what_is_no_log_is_left_alone_and_stops_no_other(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.txt"
    grow(elsewhere, MEBIBYTE + 1)
    folder = tmp_path / "logs"
    (folder / "a-folder.log").mkdir(parents=True)
    os.utime(folder / "a-folder.log", (0, 0))
    (folder / "a-link.log").symlink_to(elsewhere)
    (folder / "a-link-to-nowhere.log").symlink_to(tmp_path / "nowhere")
    log = folder / "web-1.log"
    grow(log, MEBIBYTE + 1)
    rotate_logs(folder, LIMITS, now=NOON)
    assert elsewhere.stat().st_size == MEBIBYTE + 1, "it belongs to somebody else"
    assert log.stat().st_size == 0


def test_a_log_that_cannot_be_rotated_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "runner-1.log").touch()
    grow(tmp_path / "runner-1.log", MEBIBYTE + 1)
    (tmp_path / f"runner-1.log.{NOON:%Y-%m-%dT%H-%M-%S}").mkdir()
    log = tmp_path / "web-1.log"
    grow(log, MEBIBYTE + 1)
    with pytest.raises(OSError, match="directory"):
        rotate_logs(tmp_path, LIMITS, now=NOON)
    assert log.stat().st_size == 0
