"""One process for all who ask: whatever happens to it, they get a vector from the next one, or are told at once."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings

from bandstand.supervisor.embedder import SupervisedEmbedder
from foundation.compute_pool import framing
from foundation.compute_pool.boot import isolated_command
from memory.embeddings.embedder_process import wire
from memory.embeddings.embedder_process.embedder_server import MAX_CONNECTIONS, Limits
from memory.embeddings.embedder_process.folder import connect, embedder_folder
from memory.embeddings.embedder_process.launcher import EmbedderLauncher, EmbedderSpec, kill_embedder
from memory.embeddings.embedder_process.process_embedder import ProcessEmbedder
from memory.embeddings.fake import FakeEmbedder
from memory.embeddings.interface import EmbeddingUnavailable
from tests.support import embedder_models
from tests.support.surroundings import ROOT, environment

PATIENT = 30.0


class Installation:
    """A data directory, and embedders of it as its processes have them."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.folder = embedder_folder(data_dir)
        self._embedders: list[ProcessEmbedder] = []

    def embedder(self, load: Callable[[], object] = embedder_models.load_obedient, **limits: Any) -> ProcessEmbedder:
        spec = EmbedderSpec(self.data_dir, f"{load.__module__}:{load.__name__}", limits=Limits(**limits))
        self._embedders.append(
            ProcessEmbedder(spec, model="obedient", dimensions=FakeEmbedder.dimensions, stalled_seconds=0.5)
        )
        return self._embedders[-1]

    def end(self) -> None:
        for embedder in self._embedders:
            embedder.close()
        kill_embedder(self.folder)

    def process(self) -> psutil.Process:
        return psutil.Process(self.status()["pid"])

    def status(self) -> dict[str, Any]:
        while (status := self.embedder().status(timeout=PATIENT)) is None:
            pass  # those who were before have just closed all of its connections
        return status


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    yield (there := Installation(tmp_path))
    there.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One whose process lives on."""
    there = Installation(tmp_path_factory.mktemp("shared"))
    there.embedder().embed(["a"], timeout=PATIENT)
    yield there
    there.end()


def connect_patiently(installation: Installation) -> socket.socket:
    while True:
        with suppress(BlockingIOError):  # more are waiting than may
            return connect(installation.folder, PATIENT)


def expected(text: str) -> list[float]:
    [vector] = FakeEmbedder().embed([text], timeout=1)
    return vector


def is_expected(vector: list[float], text: str) -> bool:
    return vector == pytest.approx(expected(text), abs=1e-6)


def gone(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.wait(timeout=PATIENT)


def test_the_first_question_starts_the_process_and_a_killed_one_is_replaced(installation: Installation) -> None:
    embedder = installation.embedder()
    assert embedder.status(timeout=1) is None
    assert is_expected(embedder.embed(["one"], timeout=PATIENT)[0], "one")
    first = installation.process()
    first.kill()
    gone(first)
    assert is_expected(embedder.embed(["two"], timeout=PATIENT)[0], "two")
    assert installation.status()["pid"] != first.pid


def test_a_process_has_nothing_of_ours(shared: Installation) -> None:
    process = shared.process()
    folder = str(shared.folder)
    files = [file.path for file in process.open_files()]
    assert [path for path in files if not path.startswith(folder)] == [str(shared.data_dir / "logs" / "embedder.log")]
    assert process.net_connections("inet") == []
    assert process.nice() == 0
    # Sentry, once an earlier test has started it here, hands the ids of its trace to every process.
    ours = {name for name in process.environ() if name not in {"SUBPROCESS_SENTRY_TRACE", "SUBPROCESS_BAGGAGE"}}
    assert ours <= {"MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS"}
    assert process.rlimit(psutil.RLIMIT_AS)[0] < 8 * 1024**3
    assert shared.folder.stat().st_mode & 0o777 == 0o700


def test_there_are_never_two(installation: Installation) -> None:
    """Eight processes of an installation need it at the same moment."""
    barrier = threading.Barrier(8)

    def ask(embedder: ProcessEmbedder) -> list[float]:
        barrier.wait()
        return embedder.embed(["a"], timeout=PATIENT)[0]

    with ThreadPoolExecutor(8) as threads:
        vectors = list(threads.map(ask, [installation.embedder() for _ in range(8)]))
    assert all(is_expected(vector, "a") for vector in vectors)
    marker = str(installation.folder)
    living = [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if marker in " ".join(process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
    for process in living:
        if process.pid != installation.status()["pid"]:
            gone(process)
    assert installation.status()["embedded_texts"] == 8


def test_another_process_uses_the_one_that_is_there(shared: Installation) -> None:
    program = (
        "import sys; from pathlib import Path; from memory.embeddings.embedder_process.launcher import EmbedderSpec;"
        "from memory.embeddings.embedder_process.process_embedder import ProcessEmbedder;"
        "spec = EmbedderSpec(Path(sys.argv[1]), 'none:none');"
        "print(len(ProcessEmbedder(spec, model='', dimensions=256).embed(['b'], timeout=20)[0]))"
    )
    command = [sys.executable, "-c", program, str(shared.data_dir)]
    before = shared.status()
    answer = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert answer.stdout == "256\n"
    after = shared.status()
    assert (after["pid"], after["embedded_texts"]) == (before["pid"], before["embedded_texts"] + 1)


def test_a_model_that_is_stuck_ends_its_process(installation: Installation) -> None:
    embedder = installation.embedder(stuck_seconds=0.2)
    embedder.embed(["a"], timeout=PATIENT)
    stuck = installation.process()
    with pytest.raises(EmbeddingUnavailable):
        embedder.embed([embedder_models.HANG], timeout=0.1)
    gone(stuck)
    assert is_expected(embedder.embed(["b"], timeout=PATIENT)[0], "b")
    assert "works on one batch" in (installation.data_dir / "logs" / "embedder.log").read_text()


def test_a_process_that_has_grown_too_large_ends_itself(installation: Installation) -> None:
    embedder = installation.embedder(memory_bytes=180 * 1024 * 1024)
    embedder.embed(["a"], timeout=PATIENT)
    large = installation.process()
    with suppress(EmbeddingUnavailable):
        embedder.embed([embedder_models.GROW], timeout=0.5)
    gone(large)
    assert is_expected(embedder.embed(["b"], timeout=PATIENT)[0], "b")


def test_a_stopped_process_is_killed_by_who_waits_for_it(installation: Installation) -> None:
    embedder = installation.embedder()
    embedder.embed(["a"], timeout=PATIENT)
    stopped = installation.process()
    stopped.suspend()
    with pytest.raises(EmbeddingUnavailable):
        embedder.embed(["b"], timeout=0.1)
    gone(stopped)
    assert is_expected(embedder.embed(["b"], timeout=PATIENT)[0], "b")


def test_a_text_that_kills_every_process_is_given_up(installation: Installation) -> None:
    embedder = installation.embedder()
    with pytest.raises(EmbeddingUnavailable):
        embedder.embed([embedder_models.DIE], timeout=PATIENT)


def test_a_text_that_fails_is_its_own_fault(shared: Installation) -> None:
    embedder = shared.embedder()
    with ThreadPoolExecutor(3) as threads:
        bad = [threads.submit(embedder.embed, [text], timeout=PATIENT) for text in ("[[fail]]", "[[unreadable]]")]
        good = threads.submit(embedder.embed, ["b"], timeout=PATIENT)
        assert is_expected(good.result()[0], "b")
        for each in bad:
            with pytest.raises(EmbeddingUnavailable):
                each.result()
    assert is_expected(embedder.embed(["c"], timeout=PATIENT)[0], "c")
    assert shared.status()["waiting_texts"] == 0


def test_a_model_that_is_not_there_is_said_at_once(installation: Installation) -> None:
    embedder = installation.embedder(embedder_models.load_nothing)
    begun = time.monotonic()
    with pytest.raises(EmbeddingUnavailable, match="cannot be used"):
        embedder.embed(["a"], timeout=PATIENT)
    assert time.monotonic() - begun < PATIENT / 2
    assert "there is no model" in (installation.folder / wire.FAULT).read_text()


def test_nobody_waits_longer_than_they_said(installation: Installation) -> None:
    embedder = installation.embedder()
    with pytest.raises(EmbeddingUnavailable):
        embedder.embed(["a"], timeout=0.001)
    assert is_expected(embedder.embed(["a"], timeout=PATIENT)[0], "a")


def test_the_supervisor_ends_the_process_that_has_recorded_itself(installation: Installation) -> None:
    changed = settings.BANDSTAND.model_copy(update={"data_dir": installation.data_dir})
    supervised = SupervisedEmbedder(changed)
    supervised.start()  # the embedder of tests has no process
    assert supervised.recorded() == []
    installation.embedder().embed(["a"], timeout=PATIENT)
    process = installation.process()
    assert [record.pid for record in supervised.recorded()] == [process.pid]
    supervised.end()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_one_whose_starter_has_gone_before_it_was_recorded_ends(installation: Installation) -> None:
    options = {"folder": str(installation.folder), "load": "none:none", "options": {}, "limits": {}, "starter": 1}
    command = isolated_command("memory.embeddings.embedder_process.embedder_server:main", options)
    assert subprocess.run(command, env={}, check=False, timeout=PATIENT).returncode == 0


def test_a_launcher_ends_what_it_has_started_however_young(installation: Installation) -> None:
    launcher = EmbedderLauncher(installation.embedder()._spec)
    assert launcher.ensure_started()
    launcher.end()
    assert installation.embedder().status(timeout=1) is None


def test_an_idle_process_ends_and_the_next_question_starts_another(installation: Installation) -> None:
    embedder = installation.embedder(idle_seconds=0.2)
    embedder.embed(["a"], timeout=PATIENT)
    record = wire.RECORD
    pid = int((installation.folder / record).read_text().partition('"pid": ')[2].partition(",")[0])
    with suppress(psutil.NoSuchProcess):
        gone(psutil.Process(pid))
    assert is_expected(embedder.embed(["b"], timeout=PATIENT)[0], "b")


RUBBISH = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x02[]",
    b"\x00\x00\x00\x01{",
    b"\x00\x00\x27\x10" + b"[" * 10_000,
    *(
        framing.encode(message)
        for message in (
            {},
            {"texts": [], "seconds": 1},
            {"texts": ["a"] * (wire.MAX_TEXTS + 1), "seconds": 1},
            {"texts": ["a" * (wire.MAX_CHARACTERS + 1)], "seconds": 1},
            {"texts": [1], "seconds": 1},
            {"texts": ["a"], "seconds": "1"},
            {"texts": ["a"], "seconds": True},
            {"texts": ["a"], "seconds": float("nan")},
            {"texts": ["a"], "seconds": -1},
        )
    ),
    framing.encode({"texts": ["a"], "seconds": 1}) + framing.encode({"texts": ["b"], "seconds": 1}),
]


def test_rubbish_on_the_socket_closes_its_connection_and_nothing_else(shared: Installation) -> None:
    embedder = shared.embedder()
    process = shared.process()
    for rubbish in RUBBISH[:-1]:
        with connect(shared.folder, PATIENT) as channel:
            channel.sendall(rubbish)
            assert channel.recv(1024) == b"", rubbish
    half = connect(shared.folder, PATIENT)
    half.sendall(b"\x00\x00")
    assert is_expected(embedder.embed(["b"], timeout=PATIENT)[0], "b")
    with connect(shared.folder, PATIENT) as channel:
        channel.sendall(RUBBISH[-1])
        assert channel.recv(1024) == b""
    half.close()
    assert shared.status()["pid"] == process.pid


def test_more_connections_than_there_may_be_are_closed(shared: Installation) -> None:
    embedder = shared.embedder()
    embedder.embed(["kept"], timeout=PATIENT)
    with ExitStack() as channels:
        for _ in range(MAX_CONNECTIONS):
            last = channels.enter_context(connect_patiently(shared))
        assert last.recv(1) == b""
        # The connection that it has kept still works.
        assert is_expected(embedder.embed(["b"], timeout=PATIENT)[0], "b")


def test_more_texts_than_may_wait_are_refused(installation: Installation) -> None:
    embedder = installation.embedder()
    embedder.embed(["a"], timeout=PATIENT)
    question = framing.encode({"texts": ["[[hang]]"] * wire.MAX_TEXTS, "seconds": 600})
    channels = [connect(installation.folder, PATIENT) for _ in range(16)]
    for channel in channels:
        channel.sendall(question)
    waiting = 16 * wire.MAX_TEXTS
    while installation.status()["waiting_texts"] < waiting:
        pass
    with pytest.raises(EmbeddingUnavailable, match="Too many"):
        embedder.embed(["b"], timeout=PATIENT)
    for channel in channels:
        channel.close()


def test_a_path_longer_than_an_address_may_be(tmp_path: Path) -> None:
    installation = Installation(tmp_path / ("x" * 120))
    installation.data_dir.mkdir()
    assert is_expected(installation.embedder().embed(["a"], timeout=PATIENT)[0], "a")
    installation.end()


async def test_an_event_loop_is_not_blocked_and_a_search_is_kept(installation: Installation) -> None:
    embedder = installation.embedder()
    vectors = await asyncio.gather(*(embedder.aembed([f"text {number}"], timeout=PATIENT) for number in range(20)))
    assert all(is_expected(vector, f"text {number}") for number, [vector] in enumerate(vectors))
    installation.process().send_signal(signal.SIGSTOP)
    assert is_expected((await embedder.aembed(["text 7"], timeout=0.01))[0], "text 7")
    with pytest.raises(EmbeddingUnavailable):
        await embedder.aembed(["text 20"], timeout=0.01)


def test_a_forked_process_asks_by_a_connection_of_its_own(shared: Installation) -> None:
    embedder = shared.embedder()
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if is_expected(embedder.embed(["b"], timeout=PATIENT)[0], "b") else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert is_expected(embedder.embed(["c"], timeout=PATIENT)[0], "c")
