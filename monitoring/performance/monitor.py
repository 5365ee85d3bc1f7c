"""One pass of the performance monitor, after each sample of the gauges."""

from __future__ import annotations

from foundation.process_work import Process
from monitoring.sampling.sampler import Sampler


def make_sampler(process: Process) -> Sampler:
    """The sampler of a process, which calls the monitor."""
    return Sampler(process, analyse=watch_performance)


def watch_performance() -> None:
    """Look at the samples of the last minutes."""
