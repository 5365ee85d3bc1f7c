"""`python -m tests.bench.memory [--data PATH] [--rows 10000,100000] [--only quality|speed]`.

The figures of quality need the file of LoCoMo (Maharana et al., ACL 2024, data/locomo10.json or a part of it), which is
not ours to copy: without it they are left out, and the bench says so. The database is one of the bench's own.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from tests.bench.memory.database import open_database


def main() -> None:
    """Measure what the options ask for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--data", type=Path, help="the file of LoCoMo")
    parser.add_argument("--rows", default="10000,100000", help="sizes of the table for the figures of speed")
    parser.add_argument("--only", choices=("quality", "speed"))
    parser.add_argument("--questions", type=int, help="so many questions only")
    options = parser.parse_args()
    began = time.monotonic()
    with open_database():
        # Django's models can be imported from here on.
        from tests.bench.memory import quality, speed

        if options.only != "speed":
            if options.data is None or not options.data.is_file():
                print("quality: NOT MEASURED. The file of LoCoMo is absent; DATA=/path/to/locomo10.json names it.")
            else:
                quality.measure(options.data, limit=options.questions)
        if options.only != "quality":
            for rows in map(int, filter(None, options.rows.split(","))):
                speed.measure(rows)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{os.cpu_count()} cores, load {load}; {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
