"""Rollouts in a row on the local Prefect server with SQLite: the longest time in which nothing happens.

    python -m benchmarks.in_a_row

It starts its own local Azure ML, without the durations of Azure, and its own Prefect server on loopback. Each rollout
brings a new version of one endpoint, in a process of its own. A silence is the time between two lines of its log, or
from the last line to the end of the process. The exit code is 1 if one is longer than `MOST_SECONDS`, or if a rollout
fails.
"""

import argparse
import itertools
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from rollway.local.stack import temporary_stack
from tests.support.lab import Lab, running_lab

MOST_SECONDS = 5.0
TIME = re.compile(r"^(\d\d:\d\d:\d\d\.\d{3}) ", re.MULTILINE)


@contextmanager
def a_lab(folder: Path) -> Iterator[Lab]:
    """Yield a place for rollouts, with a Prefect server on SQLite."""
    with temporary_stack(folder / "stack", lambda _: None) as stack:
        stack.start_prefect()
        stack.wait_for_prefect()
        with running_lab(folder, stack) as made:
            yield made


def longest_silence(log: str, ended: datetime) -> float:
    """Return the longest time between two lines of a log, or from the last one to the end, in seconds."""
    times = [datetime.strptime(one, "%H:%M:%S.%f") for one in TIME.findall(log)]
    times.append(ended.replace(year=1900, month=1, day=1))
    gaps = [(later - earlier) % timedelta(days=1) for earlier, later in itertools.pairwise(times)]
    return max(gaps, default=timedelta()).total_seconds()


def main() -> None:
    """Roll out, and print the longest silences."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rollouts", type=int, default=50)
    count = parser.parse_args().rollouts
    silences, seconds, failed = [], [], 0
    with tempfile.TemporaryDirectory() as folder, a_lab(Path(folder)) as lab:
        lab.use_new_endpoint()
        for number in range(1, count + 1):
            lab.change()
            start = time.perf_counter()
            done = lab.roll_out()
            silences.append(longest_silence(done.log, datetime.now()))
            seconds.append(time.perf_counter() - start)
            failed += done.exit_code != 0
            print(f"· {number} of {count}: {seconds[-1]:.1f} s, longest silence {silences[-1]:.1f} s", file=sys.stderr)
    print(f"{count} rollouts, {failed} failed")
    print(f"a rollout: median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s")
    print(f"longest silence: median {statistics.median(silences):.1f} s, longest {max(silences):.1f} s")
    sys.exit(failed > 0 or max(silences) > MOST_SECONDS)


if __name__ == "__main__":
    main()
