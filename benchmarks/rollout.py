"""A whole rollout with `rollway deploy`, compared with a plain script of azure-ai-ml.

    python -m benchmarks.rollout                # about 25 minutes: the durations of real Azure
    python -m benchmarks.rollout --scale 0.1    # to try the benchmark; its figures say nothing about Azure

It starts its own emulator and Prefect server on loopback. Both contenders roll out the same files side by side, so that
both see the same load of the machine: a first rollout, then a second model version. Each has its own resource group,
workspace and region, which tell whose request is whose. The time counts from the start of the process. A rollout is
proven when a request by traffic was answered. The exit code is 1 if a target is missed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from rollway.local.example import MODEL, ROLLOUT, train
from rollway.local.process import Process
from rollway.local.stack import Stack, temporary_stack
from rollway.terminal import say
from tests.support.calls import READING_POSTS, pattern_of
from tests.support.emulator_process import REPOSITORY

MAX_RATIO = 1.00
PROVEN = re.compile(r"serves and proven after")


@dataclass(frozen=True)
class Contender:
    """One way to roll out; only its requests name its resource group, its workspace in there, or its region."""

    name: str
    group: str
    workspace: str
    region: str

    def owns(self, request: Mapping[str, Any]) -> bool:
        """Return True if the request names the resource group or the region."""
        path = f"{request['path']}/".lower()
        return f"/resourcegroups/{self.group}/" in path or f"/locations/{self.region}/" in path


SCRIPT = Contender("script", "script-group", "script", "northeurope")
ROLLWAY = Contender("rollway", "rollway-group", "rollway", "westeurope")


@dataclass(frozen=True)
class Run:
    """One run of a contender.

    Args:
        proven_seconds: From the start of the process until a request by traffic was answered; None in a no-op run.
        ended_seconds: From the start of the process until its end.
        requests: The requests to Resource Manager, as the emulator recorded them.
    """

    proven_seconds: float | None
    ended_seconds: float
    requests: tuple[Mapping[str, Any], ...]

    @property
    def writes(self) -> int:
        """Number of requests that change something in Azure."""
        return sum(is_write(one) for one in self.requests)

    @property
    def reads(self) -> int:
        """Number of the other requests."""
        return len(self.requests) - self.writes


def is_write(request: Mapping[str, Any]) -> bool:
    """Return True if the request changes something in Azure."""
    return request["method"] not in ("GET", "HEAD") and not str(request["path"]).endswith(READING_POSTS)


class Race:
    """Runs the contenders side by side on one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._variables = stack.environment()
        self._running: list[Process] = []

    def register(self, model: Path, version: str) -> None:
        """Register a model version in the workspace of each contender."""
        os.environ.update(self._variables)
        from rollway.azure.assets import register_model  # noqa: PLC0415 - reads the environment when it is imported
        from rollway.azure.session import open_session  # noqa: PLC0415
        from rollway.settings import Workspace  # noqa: PLC0415

        async def register(contender: Contender) -> None:
            subscription = self._variables["AZURE_SUBSCRIPTION_ID"]
            workspace = Workspace(
                subscription_id=subscription, resource_group=contender.group, name=contender.workspace
            )
            await register_model(await open_session(workspace), str(model), MODEL, version)

        for contender in (SCRIPT, ROLLWAY):
            asyncio.run(register(contender))

    def run(self, commands: Mapping[Contender, Sequence[str]]) -> dict[Contender, Run]:
        """Run the commands side by side, and return the runs with their requests."""
        seen = len(self._stack.azure_requests())
        with ThreadPoolExecutor(len(commands)) as pool:
            started = {one: pool.submit(self._run, one, command) for one, command in commands.items()}
            try:
                ended, _ = wait(started.values(), return_when=FIRST_EXCEPTION)
                for future in ended:
                    future.result()  # raises what went wrong first, before the other one is stopped
            finally:  # inside the pool, which waits for its threads: if one contender fails, the other one is stopped
                for process in self._running:
                    process.stop()
                self._running.clear()
            times = {one: future.result() for one, future in started.items()}
        requests = self._stack.azure_requests()[seen:]
        arm = [one for one in requests if str(one["path"]).startswith("/subscriptions/")]
        if strangers := [one for one in arm if not any(contender.owns(one) for contender in commands)]:
            raise RuntimeError(f"nobody's requests: {[one['path'] for one in strangers[:5]]}")
        return {one: Run(*times[one], tuple(filter(one.owns, arm))) for one in commands}

    def _run(self, contender: Contender, command: Sequence[str]) -> tuple[float | None, float]:
        """Run a command; return after how many seconds it was proven, and ended."""
        variables = {
            **self._variables,
            "AZURE_RESOURCE_GROUP": contender.group,
            "AZUREML_WORKSPACE": contender.workspace,
        }
        log_file, output, proven = self._stack.folder / f"{contender.name}.log", "", None
        with log_file.open("a", encoding="utf-8") as log:
            began, start = time.time(), time.monotonic()
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            self._running.append(Process(contender.name, process.pid))
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for line in process.stdout:
                output += line
                if PROVEN.search(line):
                    proven = time.monotonic() - start
            exit_code = process.wait()
            ended = time.monotonic() - start
        if exit_code != 0:
            raise RuntimeError(
                f"{contender.name} ended with {exit_code}:\n{output[-2000:]}{log_file.read_text()[-4000:]}"
            )
        if contender is ROLLWAY:
            proven = proven_by_report(json.loads(output), began)
        say(f"{contender.name}: {f'proven after {proven:.1f} s, ' if proven else ''}ended after {ended:.1f} s")
        return proven, ended


def proven_by_report(report: Mapping[str, Any], began: float) -> float | None:
    """Return after how many seconds the smoke test by traffic had passed, from a rollout's report.

    Args:
        began: When the process was started, in seconds since the epoch.
    """
    ends = [one["ended"] for one in report["timeline"] if one["name"].startswith("smoke test") and one["is_completed"]]
    return datetime.fromisoformat(ends[-1]).timestamp() - began if ends else None


def script_command(*arguments: str) -> list[str]:
    return [sys.executable, "benchmarks/plain_script.py", MODEL, *arguments]


def race(stack: Stack, models: Mapping[str, Path]) -> tuple[dict[Contender, Run], dict[Contender, Run], Run]:
    """Run the first rollout, the second one, and Rollway once more without a change."""
    rollway = [sys.executable, "-m", "rollway", "deploy", ROLLOUT, "--json"]
    racing = Race(stack)
    rounds = []
    for version, names in (("1", ["blue"]), ("2", ["green", "blue"])):
        say(f"rollout of model version {version}, side by side")
        racing.register(models[version], version)
        rounds.append(racing.run({SCRIPT: script_command(*names), ROLLWAY: rollway}))
    say("rollway once more: nothing has changed")
    return rounds[0], rounds[1], racing.run({ROLLWAY: rollway})[ROLLWAY]


def report(first: Mapping[Contender, Run], second: Mapping[Contender, Run], idle: Run) -> bool:
    """Print the figures. Return True if all targets are met."""
    print(f"{'':38}{'script':>9}{'rollway':>9}{'ratio':>8}  target")
    is_met = idle.writes == 0
    for title, runs in (("first rollout", first), ("second rollout", second)):
        script, rollway = runs[SCRIPT], runs[ROLLWAY]
        if script.proven_seconds is None or rollway.proven_seconds is None:
            raise RuntimeError(f"{title}: no answer by traffic")
        for name, one, other, has_target in (
            ("serves and proven, s", script.proven_seconds, rollway.proven_seconds, True),
            ("ended, s", script.ended_seconds, rollway.ended_seconds, False),
            ("requests to ARM", len(script.requests), len(rollway.requests), True),
            ("  of them reads", script.reads, rollway.reads, False),
            ("  of them writes", script.writes, rollway.writes, False),
        ):
            digits = 1 if isinstance(one, float) else 0
            target = f"  at most x{MAX_RATIO:.2f}" if has_target else ""
            print(f"{f'{title}: {name}':38}{one:9.{digits}f}{other:9.{digits}f}{f'x{other / one:.2f}':>8}{target}")
            is_met = is_met and not (has_target and other / one > MAX_RATIO)
    for name, figure, target in (
        ("ended, s", f"{idle.ended_seconds:.1f}", ""),
        ("reads", idle.reads, ""),
        ("writes", idle.writes, "none"),
    ):
        print(f"{f'without a change: {name}':38}{'':9}{figure:>9}{'':8}  {target}".rstrip())
    return is_met


def print_calls(title: str, runs: Mapping[Contender, Run]) -> None:
    """Print how often each contender sent each kind of request, the most frequent first."""
    counts = {one: Counter(kind_of(request) for request in run.requests) for one, run in runs.items()}
    kinds = sum(counts.values(), Counter[str]())
    print(f"\n{title}: requests to ARM\n{''.join(f'{one.name:>9}' for one in runs)}")
    for kind, _ in kinds.most_common():
        print(f"{''.join(f'{counts[one][kind]:9}' for one in runs)}  {kind}")


def kind_of(request: Mapping[str, Any]) -> str:
    """Return the method and the path of a request, with names and ids left open."""
    pattern = re.sub(r"\\(.)", r"\1", pattern_of(str(request["path"])).strip("^$")).replace("[^/]+", "*")
    return f"{request['method']} {pattern.partition('/providers/Microsoft.MachineLearningServices')[2]}"


@contextlib.contextmanager
def running_stack(folder: Path, scale: float) -> Iterator[tuple[Stack, dict[str, Path]]]:
    """Start the emulator and the Prefect server, train the models, and stop everything at the end of the block."""
    with temporary_stack(folder, say) as stack:
        seed = folder / "seed.yaml"
        folder.mkdir(parents=True)
        seed.write_text(yaml.safe_dump({"workspaces": [seeded(one) for one in (ROLLWAY, SCRIPT)]}))
        profile = "azure" if scale == 1 else f"azure:{scale}"
        stack.start_emulator("--profile", profile, "--seed", str(seed))
        stack.start_prefect()
        models = {version: train(folder, version, say) for version in ("1", "2")}
        stack.wait_for_emulator()
        stack.wait_for_prefect()
        yield stack, models


def seeded(contender: Contender) -> dict[str, str]:
    return {"resource_group": contender.group, "name": contender.workspace, "location": contender.region}


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare a rollout by Rollway with a plain script of azure-ai-ml.")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the durations of Azure's operations")
    parser.add_argument("--calls", action="store_true", help="also print how often each kind of request was sent")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes are stopped
    os.chdir(REPOSITORY)
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder) / "stack", given.scale) as (stack, models):
        first, second, idle = race(stack, models)
    is_met = report(first, second, idle)
    if given.calls:
        print_calls("first rollout", first)
        print_calls("second rollout", second)
        print_calls("without a change", {ROLLWAY: idle})
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
