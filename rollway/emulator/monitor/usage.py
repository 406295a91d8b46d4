"""Measurement of the containers' processor and memory usage, for the metrics of online deployments."""

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path

from rollway.emulator.arm.endpoints import ENDPOINT_TYPE, parent_endpoint_id
from rollway.emulator.state import Emulator

INTERVAL_SECONDS = 5.0
TICKS, PAGE_BYTES = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
MACHINE_BYTES = PAGE_BYTES * os.sysconf("SC_PHYS_PAGES")


async def watch_usage(emulator: Emulator) -> None:
    """Sample the usage of every serving instance, and the weights of every endpoint, forever.

    Processor usage is in percent of one core, memory usage in percent of the machine's memory.
    """
    before: dict[int, float] = {}
    measured_at = time.monotonic()
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        serving = {
            instance.container.pid: (deployment_id, instance)
            for deployment_id, revision in emulator.fleet.serving_revisions()
            for instance in revision.instances
            if instance.container.pid is not None
        }
        for endpoint in emulator.store.find(ENDPOINT_TYPE):
            emulator.samples.note_weights(endpoint)
        found = read_tree_usage(serving)
        now = time.monotonic()
        for pid, (cpu_seconds, byte_count) in found.items():
            deployment_id, instance = serving[pid]
            deployment = emulator.store.get(deployment_id)
            owner = emulator.store.get(parent_endpoint_id(deployment_id))
            if deployment is None or owner is None:
                continue
            usage = emulator.samples.current_usage(owner, deployment, instance.container.spec.name.rpartition("/")[2])
            usage.state = "Ready" if instance.is_ready else "NotReady"
            usage.memory.append(100 * byte_count / MACHINE_BYTES)
            if pid in before:
                usage.cpu.append(min(100.0, 100 * max(0.0, cpu_seconds - before[pid]) / (now - measured_at)))
        before, measured_at = {pid: cpu for pid, (cpu, _) in found.items()}, now


def read_tree_usage(roots: Iterable[int]) -> dict[int, tuple[float, int]]:
    """Return the processor seconds since the start and the bytes of memory of each process with its children.

    Works on Linux only.
    """
    found = {}
    for root in roots:
        cpu_seconds, byte_count = 0.0, 0
        for pid in _tree(root):
            try:
                # proc_pid_stat(5). The second field, the name, can contain anything, so fields are counted after it.
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended in the meantime
                continue
            cpu_seconds += (int(fields[11]) + int(fields[12])) / TICKS
            byte_count += int(fields[21]) * PAGE_BYTES
        if byte_count:
            found[root] = (cpu_seconds, byte_count)
    return found


def _tree(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _tree(int(child)))]
