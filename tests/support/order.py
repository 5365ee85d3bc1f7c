"""In which order tests run, and which of them in one process.

A file's tests run in one process, so that what they share is made once. The folder of the browser is one such file, and
files that share an installation are one.
What takes longest begins first: it decides when the whole run is over.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

# By how long they take. In seconds of processor time, those of the processes that they start among them; what has few
# of them and stands here waits for starts, ends and timeouts.
LONGEST: Final = (
    "tests/browser",  # 235
    "tests/end_to_end/test_bad_input.py",  # 70
    "tests/end_to_end/test_declared_input.py",  # 45, with the guide
    "tests/end_to_end/bandstand/supervisor/test_supervisor.py",  # 55
    "tests/end_to_end/test_access_matrix.py",  # 28
    "tests/end_to_end/test_chaos_short.py",  # 50
    "tests/end_to_end/agents/openai_api/test_openai_client.py",  # 11
    "tests/end_to_end/bandstand/web/test_server.py",  # 9
    "tests/end_to_end/test_websocket_cuts.py",  # 11
    "tests/integration/agents/engine/test_fault_matrix.py",  # 3
    "tests/unit/agents/llm/pydantic_ai/test_adapter.py",  # 6
    "tests/end_to_end/bandstand/test_secret_canaries.py",  # 18
    "tests/integration/monitoring/alerts/test_alert_kills.py",  # 9
    "tests/end_to_end/ratelimits/test_two_web_processes.py",  # 4
    "tests/end_to_end/bandstand/embedded/test_cluster.py",  # 8
    "tests/unit/agents/llm/test_conformance.py",  # 3
    "tests/integration/agents/journal/test_replay_after_waits.py",  # 5
    "tests/integration/agents/journal/test_turn_machine.py",  # 3
)

# A file whose tests share a process with those of another one.
TOGETHER: Final = {"tests/end_to_end/test_api_guide.py": "tests/end_to_end/test_declared_input.py"}


def unit_of(nodeid: str) -> str:
    """The file or folder whose tests share a process."""
    file = nodeid.split("::", 1)[0]
    file = TOGETHER.get(file, file)
    folder = str(PurePosixPath(file).parent)
    return folder if folder in LONGEST else file


def rank_of(nodeid: str) -> int:
    """Tests of a lower rank begin before others."""
    unit = unit_of(nodeid)
    return LONGEST.index(unit) if unit in LONGEST else len(LONGEST)
