"""Processor time of `rollway` before it asks Azure anything, beside the packages that it builds on.

    python -m benchmarks.imports [--turns 5]

Each line is the least of several starts, because other work on the machine makes some of them longer. `plan` and
`status` run without a workspace: they end when everything is imported. The exit code is 1 if a target is missed.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COUNT = "import atexit, sys; atexit.register(lambda: print(len(sys.modules), file=sys.stderr))"
ROLLWAY = "from rollway.__main__ import main; main(sys.argv[1:])"


@dataclass(frozen=True)
class Start:
    """Python code that is started, and the most processor time that it may take, in seconds."""

    title: str
    code: str
    arguments: tuple[str, ...] = ()
    most_seconds: float | None = None


STARTS = (
    Start("rollway --help", ROLLWAY, ("--help",)),
    Start("rollway validate", ROLLWAY, ("validate", "deployments/diabetes"), 0.6),
    Start("rollway plan", ROLLWAY, ("plan", "deployments/diabetes"), 2.0),
    Start("rollway status", ROLLWAY, ("status",), 2.0),
    Start("import azure.ai.ml", "import azure.ai.ml"),
    Start("import prefect", "import prefect"),
)


def measure(start: Start) -> tuple[float, int]:
    """Start a process; return its processor time in seconds, and how many modules it had in the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE", "ARM_", "PREFECT_"))}
    command = [sys.executable, "-c", f"{COUNT}; {start.code}", *start.arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=kept, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None  # noqa: S101 - it is a pipe
        said = process.stderr.read()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return usage.ru_utime + usage.ru_stime, int(said.split()[-1])


def main() -> int:
    """Print the table; return the exit code."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--turns", type=int, default=5)
    turns = options.parse_args().turns
    found = {start: min(measure(start) for _ in range(turns)) for start in STARTS}
    sdk = next(seconds for start, (seconds, _) in found.items() if start.title == "import azure.ai.ml")
    print(f"{'':<20}{'CPU, s':>8}{'modules':>9}{'ratio':>8}  target")
    for start, (seconds, modules) in found.items():
        target = f"  at most {start.most_seconds:g} s" if start.most_seconds else ""
        print(f"{start.title:<20}{seconds:>8.2f}{modules:>9}{f'x{seconds / sdk:.2f}':>8}{target}")
    return any(start.most_seconds and seconds > start.most_seconds for start, (seconds, _) in found.items())


if __name__ == "__main__":
    sys.exit(main())
